import type { Limits } from './types.ts';

/** Limits in words: `200 IOPS and 20 MiB/s; bursts of 2000 IOPS for 10 s`. */
export function limitsText(limits: Limits): string {
  const { burstSeconds } = limits;
  const steady = both(limits.maxIops, limits.maxBandwidth);
  const burst = both(limits.burstIops, limits.burstBandwidth);
  if (steady === null) return 'as much as the disks can';
  return burst === null ? steady : `${steady}; bursts of ${burst} for ${burstSeconds} s`;
}

function both(iops: number | null, bandwidth: number | null): string | null {
  const parts = [
    ...(iops === null ? [] : [`${iops} IOPS`]),
    ...(bandwidth === null ? [] : [bandwidthText(bandwidth)]),
  ];
  return parts.length === 0 ? null : parts.join(' and ');
}

const mib = 2 ** 20;

function bandwidthText(bytesPerSecond: number): string {
  return `${Number((bytesPerSecond / mib).toFixed(2))} MiB/s`;
}

import { HyperscaleError } from '../errors.ts';
import type { Limits } from '../volume/types.ts';
import type { StorageDaemon } from './storage-daemon.ts';

/** The limits of a head: one `throttle-group` object of QEMU, above everything that it serves. */

export const throttleGroup = 'limit';

/** A head that does not answer by then is hung; the duty is tried again. */
const timeoutMs = 2_000;

/**
 * The value of the object's property `limits` (ThrottleLimits in QEMU's qapi/block-core.json).
 * Complete, because a field that is left out stays as it was: 0 is "not limited", a burst of 0 is
 * none, and then its length must be 1.
 */
export function throttleLimits(limits: Limits): Record<string, number> {
  const { maxIops, maxBandwidth, burstIops, burstBandwidth, burstSeconds } = limits;
  const seconds = burstSeconds ?? 1;
  return {
    'iops-total': maxIops ?? 0,
    'iops-total-max': burstIops ?? 0,
    'iops-total-max-length': burstIops === null ? 1 : seconds,
    'bps-total': maxBandwidth ?? 0,
    'bps-total-max': burstBandwidth ?? 0,
    'bps-total-max-length': burstBandwidth === null ? 1 : seconds,
  };
}

/** What `throttleLimits` made, read back. @throws `engine` for an answer that QEMU never gives */
export function limitsFrom(answer: unknown): Limits {
  const value = (field: string): number => {
    const found = (answer as Record<string, unknown> | null)?.[field];
    if (typeof found === 'number') return found;
    throw new HyperscaleError('engine', `QEMU does not tell ${field} of a head's limits`);
  };
  const positive = (field: string) => value(field) || null;
  const burstIops = positive('iops-total-max');
  const burstBandwidth = positive('bps-total-max');
  const seconds = burstIops === null ? 'bps-total-max-length' : 'iops-total-max-length';
  return {
    maxIops: positive('iops-total'),
    maxBandwidth: positive('bps-total'),
    burstIops,
    burstBandwidth,
    burstSeconds: burstIops === null && burstBandwidth === null ? null : value(seconds),
  };
}

const property = { path: `/objects/${throttleGroup}`, property: 'limits' };

/** Sets the limits while requests go through; drains nothing. */
export async function setThrottle(daemon: StorageDaemon, limits: Limits): Promise<void> {
  const value = throttleLimits(limits);
  await daemon.execute('qom-set', { ...property, value }, { timeoutMs });
}

/** The limits that it has now. */
export async function readThrottle(daemon: StorageDaemon): Promise<Limits> {
  return limitsFrom(await daemon.execute('qom-get', property, { timeoutMs }));
}

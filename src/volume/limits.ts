/**
 * How much I/O a volume may do: limits for the volume as a whole, whoever and wherever its consumers
 * are. They are applied by the head, through which every request of every consumer goes.
 */
import { HyperscaleError } from '../errors.ts';
import { refuse as refuseStep } from './refuse.ts';
import type { Limits, Policy, Volume } from './types.ts';

/** Below this a guest does not get through its boot. */
const minIops = 10;
/** More than any disk does; far below what QEMU counts with. */
const maxIops = 10_000_000;
/**
 * A request passes whole, and the next one waits until it is paid for: after the largest that a
 * consumer may send (32 MiB) that is half a minute at this rate, and hours at a much lower one.
 */
const minBandwidth = 2 ** 20;
const maxBandwidth = 100 * 2 ** 30;
const maxBurstSeconds = 3_600;
const defaultBurstSeconds = 1;

/** What is asked for: absent stays as it is, null takes a limit away. */
export type LimitsChange = { [Field in keyof Limits]?: Limits[Field] | undefined };

/** The limits of a volume: its own, else those of its policy. */
export function limitsOf(volume: Pick<Volume, 'limits' | 'policy'>): Limits {
  return volume.limits ?? policyLimits(volume.policy);
}

/** What a policy lets through. */
export function policyLimits(policy: Policy): Limits {
  return {
    // QEMU's word for "no limit".
    maxIops: policy.maxIops === 0 ? null : policy.maxIops,
    maxBandwidth: null,
    burstIops: null,
    burstBandwidth: null,
    burstSeconds: null,
  };
}

export function sameLimits(a: Limits, b: Limits): boolean {
  return fields.every((field) => a[field] === b[field]);
}

/**
 * Limits after a change, complete and checked.
 * @throws `bad-input` that names the value, and what would be right.
 */
export function changedLimits(from: Limits, change: LimitsChange): Limits {
  const limits = { ...from };
  for (const field of fields) {
    const value = change[field];
    if (value !== undefined) limits[field] = value;
  }
  const bursts = limits.burstIops !== null || limits.burstBandwidth !== null;
  if (!bursts && change.burstSeconds == null) limits.burstSeconds = null;
  if (bursts) limits.burstSeconds ??= defaultBurstSeconds;
  checkLimits(limits);
  return limits;
}

/** Records other limits. @throws `conflict` when the volume is being deleted */
export function changeLimits(volume: Volume, limits: Limits): Volume {
  if (volume.tail.phase === 'deleting')
    refuseStep(volume, 'change of limits', 'it is being deleted');
  return withLimits(volume, limits);
}

/** The record with these limits; those of its policy are not kept a second time. */
export function withLimits(volume: Volume, limits: Limits): Volume {
  if (sameLimits(limits, limitsOf(volume))) return volume;
  const { limits: _, ...rest } = volume;
  return sameLimits(limits, policyLimits(volume.policy)) ? rest : { ...rest, limits };
}

/** What nobody can promise here (docs/operations.md). @throws `not-allowed`, always */
export function refuseMinimum(asked: number): never {
  throw new HyperscaleError('not-allowed', `a minimum of ${asked} IOPS cannot be promised`, {
    hint: 'Disks and links are shared by all volumes of a node, and nothing divides them: limit the other volumes instead, by --max-iops and --max-bandwidth.',
    values: { minIops: asked },
  });
}

const fields = [
  'maxIops',
  'maxBandwidth',
  'burstIops',
  'burstBandwidth',
  'burstSeconds',
] as const satisfies (keyof Limits)[];

function checkLimits(limits: Limits): void {
  checkRange('maxIops', limits.maxIops, minIops, maxIops, 'IOPS');
  checkRange('burstIops', limits.burstIops, minIops, maxIops, 'IOPS');
  checkRange('maxBandwidth', limits.maxBandwidth, minBandwidth, maxBandwidth, 'bytes/s');
  checkRange('burstBandwidth', limits.burstBandwidth, minBandwidth, maxBandwidth, 'bytes/s');
  checkRange('burstSeconds', limits.burstSeconds, 1, maxBurstSeconds, 'seconds');
  checkBurst('burstIops', limits.burstIops, 'maxIops', limits.maxIops);
  checkBurst('burstBandwidth', limits.burstBandwidth, 'maxBandwidth', limits.maxBandwidth);
  if (limits.burstSeconds !== null && limits.burstIops === null && limits.burstBandwidth === null) {
    refuse('burstSeconds', limits.burstSeconds, 'says how long a burst lasts, and there is none', {
      hint: 'Give burstIops or burstBandwidth too.',
    });
  }
}

function checkRange(
  field: keyof Limits,
  value: number | null,
  min: number,
  max: number,
  unit: string,
): void {
  if (value === null) return;
  const hint = `It is a whole number from ${min} to ${max} ${unit}; null (hscli: none) takes it away.`;
  if (!Number.isSafeInteger(value)) refuse(field, value, 'is not a whole number', { hint });
  if (value < min) refuse(field, value, `is less than ${min} ${unit}`, { hint });
  if (value > max) refuse(field, value, `is more than ${max} ${unit}`, { hint });
}

/** A burst is a larger limit for a while, so it needs a smaller one. */
function checkBurst(
  field: keyof Limits,
  burst: number | null,
  maxField: keyof Limits,
  max: number | null,
): void {
  if (burst === null) return;
  if (max === null) {
    refuse(field, burst, `needs ${maxField}: without a limit there is nothing to exceed`, {
      hint: `Give ${maxField} too, or take ${field} away.`,
    });
  }
  if (burst < max) {
    refuse(field, burst, `is below ${maxField} ${max}`, {
      hint: `A burst is at least ${maxField}; lower that one, or take ${field} away.`,
    });
  }
}

function refuse(field: string, value: number, why: string, { hint }: { hint: string }): never {
  throw new HyperscaleError('bad-input', `${field} ${value} ${why}`, {
    hint,
    values: { field, value },
  });
}

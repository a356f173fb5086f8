/** What may be asked of a volume's limits, and what becomes of it. */
import { describe, expect, test } from 'vitest';
import { limitsFrom, throttleLimits } from '../../src/engine/throttle.ts';
import { parseVolume } from '../../src/store/records.ts';
import {
  changedLimits,
  changeLimits,
  limitsOf,
  policyLimits,
  sameLimits,
  withLimits,
} from '../../src/volume/limits.ts';
import { limitsText } from '../../src/volume/limits-text.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { Limits } from '../../src/volume/types.ts';
import { record } from './volume/fixtures.ts';

const none: Limits = {
  maxIops: null,
  maxBandwidth: null,
  burstIops: null,
  burstBandwidth: null,
  burstSeconds: null,
};
const mib = 2 ** 20;
const silver = policyLimits(policyNamed('Silver'));

describe('a change', () => {
  test('leaves what it does not name, and null takes a limit away', () => {
    const some = { ...none, maxIops: 500, maxBandwidth: 10 * mib };
    expect(changedLimits(some, { maxIops: 600 })).toEqual({ ...some, maxIops: 600 });
    expect(changedLimits(some, { maxBandwidth: null, maxIops: undefined })).toEqual({
      ...none,
      maxIops: 500,
    });
    expect(changedLimits(some, {})).toEqual(some);
  });

  test('a burst lasts a second unless it is said how long, and takes its time with it', () => {
    const burst = changedLimits({ ...none, maxIops: 500 }, { burstIops: 900 });
    expect(burst).toMatchObject({ burstIops: 900, burstSeconds: 1 });
    expect(changedLimits(burst, { burstSeconds: 30 })).toMatchObject({ burstSeconds: 30 });
    expect(changedLimits(burst, { burstIops: null })).toEqual({ ...none, maxIops: 500 });
  });

  test.each<[string, Partial<Limits>, RegExp]>([
    ['zero', { maxIops: 0 }, /^maxIops 0 is less than 10 IOPS$/],
    ['negative', { maxBandwidth: -1 }, /^maxBandwidth -1 is less than 1048576 bytes\/s$/],
    ['fraction', { maxIops: 100.5 }, /^maxIops 100.5 is not a whole number$/],
    ['not finite', { maxIops: Number.POSITIVE_INFINITY }, /is not a whole number$/],
    ['absurd', { maxIops: 10_000_001 }, /is more than 10000000 IOPS$/],
    ['too small for a request', { maxBandwidth: mib - 1 }, /is less than 1048576 bytes\/s$/],
    ['a burst below', { maxIops: 500, burstIops: 499 }, /^burstIops 499 is below maxIops 500$/],
    ['a burst of what is not limited', { maxIops: null, burstIops: 90 }, /needs maxIops/],
    ['bandwidth likewise', { burstBandwidth: 2 * mib }, /needs maxBandwidth/],
    ['a time without a burst', { burstSeconds: 5 }, /^burstSeconds 5 .* there is none$/],
    ['no time', { burstIops: 30_000, burstSeconds: 0 }, /^burstSeconds 0 is less than 1 sec/],
    ['a day', { burstIops: 30_000, burstSeconds: 86_400 }, /is more than 3600 seconds$/],
  ])('refuses %s', (_what, change, words) => {
    expect(() => changedLimits(silver, change)).toThrow(
      expect.objectContaining({ code: 'bad-input', message: expect.stringMatching(words) }),
    );
  });

  test('the largest that is allowed is within what QEMU takes', () => {
    const iops = 10_000_000;
    const bandwidth = 100 * 2 ** 30;
    const most = changedLimits(none, {
      maxIops: iops,
      burstIops: iops,
      maxBandwidth: bandwidth,
      burstBandwidth: bandwidth,
      burstSeconds: 3_600,
    });
    // THROTTLE_VALUE_MAX bounds the rate times the length of a burst.
    expect((most.burstBandwidth ?? 0) * (most.burstSeconds ?? 0)).toBeLessThan(1e15);
  });
});

describe('the record', () => {
  test('an old one without limits has those of its policy', () => {
    const volume = record({ policy: policyNamed('Silver') });
    expect('limits' in volume).toBe(false);
    const read = parseVolume(
      `/volumes/${volume.id}`,
      JSON.stringify({ ...volume, operation: 'x', createdAt: 'then' }),
    );
    expect(limitsOf(read)).toEqual({ ...none, maxIops: 20_000 });
    // As QEMU had it, when a policy's limit was 0.
    const unlimited = { ...policyNamed('Silver'), maxIops: 0 };
    expect(limitsOf(record({ policy: unlimited }))).toEqual(none);
  });

  test('keeps limits of its own, and not those of its policy a second time', () => {
    const volume = record({ policy: policyNamed('Silver') });
    const own = withLimits(volume, { ...none, maxIops: 300 });
    expect(own.limits).toEqual({ ...none, maxIops: 300 });
    expect(withLimits(own, { ...none, maxIops: 300 })).toBe(own);
    expect('limits' in withLimits(own, silver)).toBe(false);
    expect(withLimits(volume, silver)).toBe(volume);
    const gold = policyLimits(policyNamed('Gold'));
    expect(withLimits(volume, gold)).toMatchObject({ limits: gold, policy: volume.policy });
  });

  test('of a volume that is being deleted does not change', () => {
    const volume = record({ tail: { phase: 'deleting' } });
    expect(() => changeLimits(volume, none)).toThrow(expect.objectContaining({ code: 'conflict' }));
  });
});

describe('a head', () => {
  const all: Limits = {
    maxIops: 100,
    maxBandwidth: mib,
    burstIops: 200,
    burstBandwidth: 2 * mib,
    burstSeconds: 9,
  };
  test.each<Limits>([
    none,
    silver,
    all,
    { ...all, burstIops: null },
    { ...all, burstBandwidth: null },
    { ...none, maxBandwidth: mib },
  ])('tells the limits that it was given: %j', (limits) => {
    const told = { ...throttleLimits(limits), 'iops-read': 0 };
    expect(sameLimits(limitsFrom(told), limits)).toBe(true);
  });

  test('is told of every field, because one that is left out would stay', () => {
    expect(Object.keys(throttleLimits(none)).sort()).toEqual(
      Object.keys(throttleLimits(all)).sort(),
    );
    expect(throttleLimits(none)).toMatchObject({ 'iops-total-max': 0, 'iops-total-max-length': 1 });
  });

  test('that tells nonsense is not believed', () => {
    expect(() => limitsFrom(null)).toThrow(/does not tell/);
    expect(() => limitsFrom({ 'iops-total': '5' })).toThrow(/does not tell/);
  });
});

test('in words', () => {
  expect(limitsText(none)).toBe('as much as the disks can');
  expect(limitsText({ ...none, maxIops: 200 })).toBe('200 IOPS');
  expect(
    limitsText({ ...none, maxIops: 200, maxBandwidth: 20 * mib, burstIops: 900, burstSeconds: 7 }),
  ).toBe('200 IOPS and 20 MiB/s; bursts of 900 IOPS for 7 s');
});

/** Name, policy and notes of a volume; and clones that become volumes of their own. */
import { describe, expect, test } from 'vitest';
import {
  changeMetadata,
  maxMetadataBytes,
  maxMetadataKeys,
  rename,
  retype,
} from '../../src/volume/change.ts';
import { assertStep } from '../../src/volume/invariants.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import { record, refuses } from './volume/fixtures.ts';

const deleted = record({ tail: { phase: 'deleting' } });

describe('rename', () => {
  test('takes another name, and the same one is no change', () => {
    const before = record();
    const after = rename(before, 'other');
    assertStep(before, after);
    expect(after).toEqual({ ...before, name: 'other' });
    expect(rename(before, before.name)).toBe(before);
  });

  test.each(['', 'no/slash', '-dash', 'x'.repeat(64), 'ec2c25a0-0000-4000-8000-000000000000'])(
    'refuses %j',
    (name) => refuses(record(), (v) => rename(v, name), /name/, 'bad-input'),
  );

  test('what is deleted has no name to change', () => {
    refuses(deleted, (v) => rename(v, 'other'), /being deleted/);
  });
});

describe('retype', () => {
  test('takes the policy; limits of the volume stay its own', () => {
    const limits = { maxIops: 77, maxBandwidth: null, burstIops: null };
    const before = record({ limits: { ...limits, burstBandwidth: null, burstSeconds: null } });
    const after = retype(before, policyNamed('Gold'));
    assertStep(before, after);
    expect(after.policy.name).toBe('Gold');
    expect(after.limits).toEqual(before.limits);
    expect(retype(after, policyNamed('gold'))).toBe(after);
    refuses(deleted, (v) => retype(v, policyNamed('Gold')), /being deleted/);
  });
});

describe('changeMetadata', () => {
  test('adds, changes and takes away; what is not named stays', () => {
    const first = changeMetadata(record(), { a: '1', b: '2' });
    expect(first.metadata).toEqual({ a: '1', b: '2' });
    const second = changeMetadata(first, { a: null, c: '' });
    expect(second.metadata).toEqual({ b: '2', c: '' });
    expect(changeMetadata(second, { c: '' })).toBe(second);
    expect(changeMetadata(second, { b: null, c: null })).not.toHaveProperty('metadata');
    expect(changeMetadata(record(), { a: null })).toEqual(record());
  });

  test('is refused beyond its bounds, all of it', () => {
    const many = Object.fromEntries(Array.from({ length: maxMetadataKeys + 1 }, (_, i) => [i, '']));
    const large = Object.fromEntries(
      Array.from({ length: 1 + maxMetadataBytes / 1000 }, (_, i) => [i, 'x'.repeat(1000)]),
    );
    for (const change of [many, large, { '': 'x' }, { k: 'x'.repeat(1025) }]) {
      refuses(record(), (v) => changeMetadata(v, change), /metadata/, 'bad-input');
    }
  });
});

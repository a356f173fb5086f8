/** What becomes of a copy that was found damaged, and who may still use it. */
import { describe, expect, test } from 'vitest';
import { jobsFor } from '../../../src/cluster/jobs.ts';
import { mergeStep } from '../../../src/cluster/merge.ts';
import { repairStep } from '../../../src/cluster/repair.ts';
import { damageStep } from '../../../src/cluster/verify-damage.ts';
import { dropReplica, markClean } from '../../../src/volume/copies.ts';
import {
  damagedButRead,
  differences,
  lostRanges,
  maxRanges,
  rangesOf,
  recordDamage,
  soundReplicas,
  unobtainable,
  withdrawDamaged,
} from '../../../src/volume/damage.ts';
import { describeVolume } from '../../../src/volume/health.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { beginMerge } from '../../../src/volume/merge.ts';
import { policyNamed } from '../../../src/volume/policy.ts';
import type { ByteRange, Volume } from '../../../src/volume/types.ts';
import { node, open, opening, poolOf, record, refuses, sealed, unsealed } from './fixtures.ts';

const mib = 1 << 20;
const at = (name: string) => ({ node: name, pool: poolOf(name) });
const part = (index: number, chunks = 1): ByteRange => ({
  offset: index * mib,
  length: chunks * mib,
});
const when = '2026-02-03T04:05:06.000Z';
const all = (_node: string) => true;
const only = (name: string) => (other: string) => other === name;

const names = ['n1', 'n2', 'n3'];
const up = (...down: string[]) => names.map((n) => node(n, { up: !down.includes(n) }));

function damage(volume: Volume, name: string, ranges: ByteRange[], alive = all): Volume {
  const after = recordDamage(volume, 'layer-1', at(name), { ranges, at: when }, alive);
  assertStep(volume, after);
  return after;
}

const states = (volume: Volume) =>
  volume.chain[0]?.replicas.map((r) => `${r.node} ${r.state}${r.damage ? '!' : ''}`);

describe('recordDamage', () => {
  const idle = record({ chain: [sealed(1, ['n1', 'n2'])] });

  test('takes a copy out of use while another one is sound', () => {
    const after = damage(idle, 'n2', [part(3)]);
    expect(states(after)).toEqual(['n1 clean', 'n2 unverified!']);
    expect(after.chain[0]?.replicas[1]?.damage).toEqual({
      ranges: [part(3)],
      bytes: mib,
      foundAt: when,
      readUpTo: after.epoch,
    });
  });

  test('keeps the last clean copy, with what is wrong with it', () => {
    const alone = record({ chain: [sealed(1, ['n1', 'n2?'])] });
    expect(states(damage(alone, 'n1', [part(3)]))).toEqual(['n1 clean!', 'n2 unverified']);
    const away = damage(idle, 'n1', [part(3)], only('n1'));
    expect(states(away)).toEqual(['n1 clean!', 'n2 clean']);
    const both = damage(damage(idle, 'n1', [part(3)]), 'n2', [part(4)]);
    expect(states(both)).toEqual(['n1 unverified!', 'n2 clean!']);
  });

  test('adds up what is found later, and says nothing twice', () => {
    const once = damage(idle, 'n2', [part(3), part(4)]);
    expect(once.chain[0]?.replicas[1]?.damage?.ranges).toEqual([part(3, 2)]);
    expect(damage(once, 'n2', [part(4)])).toBe(once);
    const more = damage(once, 'n2', [part(1)]);
    expect(more.chain[0]?.replicas[1]?.damage).toMatchObject({
      ranges: [part(1), part(3, 2)],
      bytes: 3 * mib,
    });
  });

  test('keeps a record small, and counts what it does not list', () => {
    const many = Array.from({ length: 100 }, (_, i) => part(2 * i));
    const found = damage(idle, 'n2', many).chain[0]?.replicas[1]?.damage;
    expect([found?.ranges.length, found?.bytes]).toEqual([maxRanges, 100 * mib]);
  });

  test('is refused where nothing says what is right, and for a copy that is not there', () => {
    const step =
      (name: string, id = 'layer-1') =>
      (v: Volume) =>
        recordDamage(v, id, at(name), { ranges: [part(1)], at: when }, all);
    const unproven = record({ chain: [sealed(1, ['n1', 'n2'], { manifest: null })] });
    refuses(unproven, step('n1'), /has no manifest/);
    refuses(idle, step('n3'), /n3 holds no copy/);
    refuses(idle, step('n1', 'layer-9'), /is not sealed/);
  });

  test('a mend ends it, and nothing else makes a doubted copy out of a clean one', () => {
    const after = damage(idle, 'n2', [part(3)]);
    const mended = markClean(after, 'layer-1', at('n2'));
    assertStep(after, mended);
    expect(mended.chain).toEqual(idle.chain);
    const doubted = record({ chain: [sealed(1, ['n1', 'n2?'])] });
    refuses(idle, (v) => assertStep(v, doubted), /rule 7/, 'rule-broken');
  });
});

describe('withdrawDamaged', () => {
  const kept = damage(record({ chain: [sealed(1, ['n1', 'n2?'])] }), 'n1', [part(3)]);

  test('is refused for the last clean copy, and for one that is not damaged', () => {
    refuses(kept, (v) => withdrawDamaged(v, 'layer-1', at('n1'), all), /last clean copy/);
    refuses(kept, (v) => withdrawDamaged(v, 'layer-1', at('n2'), all), /is not damaged/);
  });

  test('comes by itself when another copy is sound and alive', () => {
    expect(damageStep(kept, up())).toBeNull();
    const proven = markClean(kept, 'layer-1', at('n2'));
    expect(damageStep(proven, up('n2'))).toBeNull();
    const step = damageStep(proven, up());
    const after = step?.apply(proven);
    expect(after && states(after)).toEqual(['n1 unverified!', 'n2 clean']);
    if (after !== undefined) assertStep(proven, after);
  });
});

describe('a damaged copy', () => {
  const chain = [sealed(1, ['n1', 'n2'])];
  const job = (volume: Volume, name: string) => jobsFor(volume, at(name), up())[0];

  test('is not written to while a head may have it open', () => {
    const written = damage(record({ chain, tail: open(2, ['n1', 'n2']) }), 'n1', [part(3)]);
    expect(damagedButRead(written).map(({ replica }) => replica.node)).toEqual(['n1']);
    expect(job(written, 'n1')).toBeUndefined();
    const later = record({ ...written, tail: open(3, ['n1', 'n2']) });
    expect(damagedButRead(later)).toEqual([]);
    expect(job(later, 'n1')).toMatchObject({ kind: 'mend', from: 'n2' });
    const idle = record({ ...written, tail: { phase: 'idle' } });
    expect(job(idle, 'n1')).toMatchObject({ kind: 'mend', from: 'n2' });
  });

  test('found while a head is being opened is not read by that one', () => {
    const next = unsealed(3, ['n1', 'n2']);
    const tail = opening(next, unsealed(2, ['n1', 'n2']));
    const found = damage(record({ chain, tail }), 'n2', [part(3)]);
    expect(job(found, 'n2')).toBeUndefined();
    const opened = record({ ...found, tail: open(3, ['n1', 'n2']) });
    expect(job(opened, 'n2')).toMatchObject({ kind: 'mend' });
  });

  test('is mended from copies that are damaged elsewhere, sound ones first', () => {
    const three = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])] });
    const mine = damage(three, 'n2', [part(3)]);
    const other = damage(mine, 'n1', [part(4)]);
    expect(job(other, 'n2')).toMatchObject({ from: 'n3', others: [] });
    const kept = damage(other, 'n3', [part(5)]);
    expect(states(kept)).toEqual(['n1 unverified!', 'n2 unverified!', 'n3 clean!']);
    expect(job(kept, 'n2')).toMatchObject({ from: 'n3' });
    // Even before the authority, when that one's damage was found while it was alone.
    const crashed = record({ chain: [sealed(1, ['n1', 'n2', 'n3?'])] });
    const last = damage(crashed, 'n1', [part(3)], only('n1'));
    expect(job(last, 'n3')).toMatchObject({ from: 'n2', others: ['n1'] });
  });

  test('is left alone where nobody has what it lacks', () => {
    const both = damage(damage(record({ chain }), 'n1', [part(3)]), 'n2', [part(3), part(7)]);
    expect(job(both, 'n1')).toBeUndefined();
    const layer = both.chain[0];
    if (layer === undefined) throw new Error('no layer');
    expect(lostRanges(layer)).toEqual([part(3)]);
    const [n1, n2] = layer.replicas;
    if (n1 === undefined || n2 === undefined) throw new Error('no copies');
    expect(unobtainable(n1, [n2])).toEqual([part(3)]);
    expect(unobtainable({ node: 'n3', pool: 'p', state: 'copying' }, [n2])).toEqual([
      part(3),
      part(7),
    ]);
    expect(unobtainable({ node: 'n3', pool: 'p', state: 'unverified' }, [n2])).toEqual([]);
  });

  test('does not count among those that allow another one to be dropped', () => {
    const three = record({ chain: [sealed(1, ['n1', 'n2', 'n3'])] });
    const gold = { ...three, policy: policyNamed('Gold') };
    const found = damage(three, 'n1', [part(3)], only('n1'));
    expect(states(found)?.[0]).toBe('n1 clean!');
    refuses(found, (v) => dropReplica(v, 'layer-1', 'n2'), /only 1 clean copies/);
    expect(repairStep(found, { nodes: up('n3'), givenUp: new Set() })).toBeNull();
    expect(repairStep(gold, { nodes: up(), givenUp: new Set() })).toBeNull();
  });

  test('is never merged into something that would look right', () => {
    const long = Array.from({ length: 9 }, (_, i) => sealed(i + 1, ['n1', 'n2']));
    const healthy = record({ chain: long });
    const plan = (v: Volume) => mergeStep(v, { nodes: up(), newId: () => 'm' });
    expect(plan(healthy)).not.toBeNull();
    const run = long.map((l) => l.id);
    const lonely = record({ chain: long.map((l) => ({ ...l, replicas: l.replicas.slice(0, 1) })) });
    const kept = damage(lonely, 'n1', [part(3)]);
    expect(states(kept)).toEqual(['n1 clean!']);
    refuses(kept, (v) => beginMerge(v, run, 'm', at('n1')), /no clean copy of layer 1/);
    const begun = beginMerge(lonely, run, 'm', at('n1'));
    expect(plan(damage(begun, 'n1', [part(3)]))?.text).toMatch(/given up/);
  });
});

describe('the report of a volume', () => {
  const of = (volume: Volume, ...down: string[]) => describeVolume(volume, up(...down), []);
  const silver = record({ chain: [sealed(1, ['n1', 'n2'])] });

  test('tells of a damaged copy that is mended as one that is missing', () => {
    const found = damage(silver, 'n2', [part(3)]);
    const { state, findings } = of(found);
    expect([state, findings.length]).toEqual(['at-risk', 1]);
    expect(findings[0]?.why).toBe("n2's copy was found damaged and waits to be mended.");
  });

  test('tells what is lost, and that nothing was deleted', () => {
    const both = damage(damage(silver, 'n1', [part(3)]), 'n2', [part(3)]);
    const { state, findings } = of(both);
    expect(state).toBe('unavailable');
    expect(findings[0]).toMatchObject({
      what: 'Layer 1 is damaged: 1048576 bytes of its file are right on no node.',
      action: 'Restore what is lost from a backup; which parts: hscli volume verify disk',
    });
  });

  test('asks for the node that has it right', () => {
    const alive = only('n1');
    const found = damage(silver, 'n1', [part(3)], alive);
    const { findings } = of(found, 'n2');
    const [first] = findings.filter((f) => /damaged/.test(f.what));
    expect(first).toMatchObject({
      severity: 'at-risk',
      what: 'The last clean copy of layer 1 is damaged: 1048576 bytes on n1.',
    });
    expect(first?.action).toMatch(/^Bring n2 back/);
  });
});

describe('parts of files', () => {
  test('are joined where they touch, and end with the file', () => {
    expect(rangesOf([1, 2, 5], mib, 5 * mib + 10)).toEqual([
      part(1, 2),
      { offset: 5 * mib, length: 10 },
    ]);
  });

  test('differ by chunks, and by length', () => {
    const wanted = { chunkBytes: mib, lengthBytes: 3 * mib, chunks: ['a', null, 'c'] };
    const found = (chunks: (string | null)[], lengthBytes = chunks.length * mib) =>
      differences(wanted, { chunks, lengthBytes });
    expect(found(['a', null, 'c'])).toEqual([]);
    expect(found(['a', 'x', 'c'])).toEqual([part(1)]);
    expect(found([null, null, 'unreadable'])).toEqual([part(0), part(2)]);
    expect(found(['a', null])).toEqual([part(2)]);
    expect(found(['a', null, 'c'], 3 * mib - 5)).toEqual([{ offset: 3 * mib - 5, length: 5 }]);
  });

  test('copies that carry damage are not sound', () => {
    const layer = damage(record({ chain: [sealed(1, ['n1'])] }), 'n1', [part(1)]).chain[0];
    expect(layer && soundReplicas(layer)).toEqual([]);
  });
});

import { describe, expect, test } from 'vitest';
import {
  ableNodes,
  dueInMs,
  nextToShip,
  overdueMs,
  shipperOf,
} from '../../src/cluster/backup-plan.ts';
import type { Episode, EpisodePlan, NodeView, Volume } from '../../src/volume/types.ts';
import { attachment, mebibyte, node, open, record, sealed } from './volume/fixtures.ts';

const start = Date.parse('2026-01-02T00:00:00Z');
const minute = 60_000;
const plan: EpisodePlan = { target: 'nas', everyMinutes: 15, keep: { last: 3 } };
const chain = [1, 2].map((epoch) => sealed(epoch, ['n1', 'n2']));
const lookup = () => undefined;

function episode(id: string, layer: string, changes: Partial<Episode> = {}): Episode {
  const at = new Date(start).toISOString();
  return { id, layer, sizeBytes: 64 * mebibyte, at, target: 'nas', name: id, ...changes };
}

function able(name: string, up = true, targets = ['nas']): NodeView {
  return { ...node(name, { up }), backupTargets: targets };
}

describe('an episode is due', () => {
  const written = (changes: Partial<Volume> = {}) =>
    record({
      chain,
      tail: open(3, ['n1', 'n2']),
      attachments: [attachment('n1')],
      episodePlan: plan,
      episodes: [episode('a', 'layer-1', { backup: 'x' })],
      ...changes,
    });

  test('at once when there is none yet, and then so often', () => {
    expect(dueInMs(record({ chain, episodePlan: plan }), start)).toBe(0);
    expect(dueInMs(written(), start)).toBe(15 * minute);
    expect(dueInMs(written(), start + 14 * minute)).toBe(minute);
    expect(dueInMs(written(), start + 15 * minute)).toBe(0);
    expect(dueInMs(written(), start + 99 * minute)).toBe(0);
  });

  test('never without a plan, and not while one waits or an epoch is begun', () => {
    expect(dueInMs(record({ chain }), start)).toBeNull();
    const waits = written({ episodes: [episode('a', 'layer-1')] });
    expect(dueInMs(waits, start + 99 * minute)).toBeNull();
    const asked = written({ episodes: [episode('a', 'layer-1', { asked: true })] });
    expect(dueInMs(asked, start)).toBe(0);
  });

  test('not when nobody can have written since', () => {
    const idle = { tail: { phase: 'idle' }, attachments: [] } as const;
    const rests = { episodes: [episode('a', 'layer-2', { backup: 'x' })] };
    const volume = written({ ...idle, ...rests, attachments: [] });
    expect(dueInMs(volume, start + 99 * minute)).toBeNull();
    expect(dueInMs({ ...volume, sizeBytes: 128 * mebibyte }, start + 99 * minute)).toBe(0);
    expect(dueInMs(written({ ...idle, attachments: [] }), start + 99 * minute)).toBe(0);
  });

  test('soon again after a clock that was wrong', () => {
    expect(dueInMs(written(), start - 10 * minute)).toBe(25 * minute);
    expect(dueInMs(written(), start - 100 * minute)).toBe(0);
  });

  test('and overdue two intervals later, whether it waits or was never made', () => {
    expect(overdueMs(written(), start + 30 * minute)).toBeNull();
    expect(overdueMs(written(), start + 31 * minute)).toBe(minute);
    const first = written({ episodes: [episode('a', 'layer-1')] });
    expect(overdueMs(first, start + 31 * minute)).toBe(minute);
    const rests = written({
      tail: { phase: 'idle' },
      attachments: [],
      episodes: [episode('a', 'layer-2', { backup: 'x' })],
    });
    expect(overdueMs(rests, start + 999 * minute)).toBeNull();
  });
});

describe('an episode is shipped by', () => {
  const nodes = ['n1', 'n2', 'n3'].map((name) => able(name));
  const volume = record({
    chain: [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2', 'n3'])],
    tail: open(3, ['n1', 'n2']),
    attachments: [attachment('n1')],
    episodes: [episode('a', 'layer-2')],
  });
  const [waiting] = volume.episodes ?? [];
  if (waiting === undefined) throw new Error('there is no episode');
  const by = (changes: Partial<Episode>, views: NodeView[] = nodes) =>
    shipperOf(volume, { ...waiting, ...changes }, { nodes: views, lookup });

  test('a node with all that must be read, and not by the one that serves guests', () => {
    expect(by({})).toBe('n2');
    expect(by({ failed: ['n2'] })).toBe('n1');
    expect(by({ failed: ['n1', 'n2'] })).toBe('n3');
    expect(by({}, [able('n1'), able('n2', false), able('n3')])).toBe('n1');
  });

  test('only one that has the target, though it has no copy', () => {
    const views = [able('n1', true, []), able('n2', true, ['s3']), able('n3')];
    expect(by({}, views)).toBe('n3');
    expect(by({ target: 'elsewhere' })).toBeNull();
    expect(ableNodes('nas', [able('n2'), able('n1'), able('n3', false)])).toEqual(['n1', 'n2']);
  });

  test('none while it is not known what is below', () => {
    const parent = { volume: 'p', layer: 'x', sizeBytes: mebibyte, layers: 1 };
    expect(shipperOf({ ...volume, parent }, waiting, { nodes, lookup })).toBeNull();
  });

  test('one with a copy that is whole rather than one that is damaged', () => {
    const damage = { ranges: [], bytes: 1, foundAt: '', readUpTo: 0 };
    const damaged = {
      ...volume,
      chain: volume.chain.map((layer) => ({
        ...layer,
        replicas: layer.replicas.map((r) => (r.node === 'n2' ? { ...r, damage } : r)),
      })),
    };
    expect(shipperOf(damaged, waiting, { nodes, lookup })).toBe('n1');
  });

  test('what was asked for goes first', () => {
    const both = {
      ...volume,
      episodes: [waiting, episode('b', 'layer-2', { asked: true })],
    };
    expect(nextToShip(both, 'n2', { nodes, lookup })?.id).toBe('b');
    expect(nextToShip(both, 'n1', { nodes, lookup })).toBeNull();
    const shipped = { ...volume, episodes: [{ ...waiting, backup: 'x' }] };
    expect(nextToShip(shipped, 'n2', { nodes, lookup })).toBeNull();
  });
});

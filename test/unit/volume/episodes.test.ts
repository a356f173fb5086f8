import { describe, expect, test } from 'vitest';
import { acceptLoss } from '../../../src/volume/accept-loss.ts';
import { planLoss } from '../../../src/volume/accept-loss-plan.ts';
import { markDeleted } from '../../../src/volume/delete.ts';
import {
  baseOf,
  basesOn,
  beginEpisode,
  beginEpisodeOf,
  dropEpisode,
  maxAskedEpisodes,
  maxBases,
  pendingEpisodes,
  recordFailed,
  recordShipped,
  setEpisodePlan,
} from '../../../src/volume/episodes.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import { mergeableRuns } from '../../../src/volume/marks.ts';
import { completeMerge } from '../../../src/volume/merge.ts';
import { addSnapshot, revertTo } from '../../../src/volume/snapshots.ts';
import type { Episode, EpisodePlan, Volume } from '../../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  mebibyte,
  open,
  opening,
  poolOf,
  record,
  replicas,
  sealed,
  unsealed,
} from './fixtures.ts';

function refuses(step: () => unknown, code: string): void {
  expect(step).toThrow(expect.objectContaining({ code }));
}

const at = '2026-01-02T00:00:00Z';
const chain = [1, 2, 3].map((epoch) => sealed(epoch, ['n1', 'n2']));
const plan: EpisodePlan = { target: 'nas', everyMinutes: 15, keep: { last: 3 } };

function episode(id: string, layer: string | null, changes: Partial<Episode> = {}): Episode {
  const common = { sizeBytes: 64 * mebibyte, at, target: 'nas', name: `episode-${id}` };
  return { id, layer, ...common, ...changes };
}

const wish = (id: string, changes: Partial<Episode> = {}) => ({
  ...{ id, name: `backup-${id}`, target: 'nas', at },
  ...changes,
});

function step(before: Volume, change: (volume: Volume) => Volume): Volume {
  const after = change(before);
  assertStep(before, after);
  return after;
}

describe('an episode', () => {
  test('ends at the newest sealed layer, which is not merged with newer ones', () => {
    for (const tail of [{ phase: 'idle' } as const, open(4, ['n1', 'n2'])]) {
      const before = record({ chain: chain.slice(0, 2), tail });
      const after = step(before, (v) => beginEpisode(v, wish('a')));
      expect(after.episodes).toEqual([episode('a', 'layer-2', { name: 'backup-a' })]);
      const later = { ...after, chain };
      expect(mergeableRuns(later).map((run) => run.map((l) => l.epoch))).toEqual([[1, 2], [3]]);
    }
  });

  test('is begun once, and not while it is not settled what is sealed', () => {
    const one = beginEpisode(record({ chain }), wish('a'));
    expect(beginEpisode(one, wish('a'))).toBe(one);
    const next = opening(unsealed(4, ['n1']), null);
    refuses(() => beginEpisode(record({ chain, tail: next }), wish('a')), 'conflict');
    refuses(() => beginEpisode(record({ chain, role: 'image' }), wish('a')), 'not-allowed');
  });

  test('of the plan waits for the one before it: only the newest state is shipped then', () => {
    const one = beginEpisode(record({ chain }), wish('a'));
    refuses(() => beginEpisode(one, wish('b')), 'conflict');
    const both = step(one, (v) => beginEpisode(v, wish('b', { asked: true })));
    expect(pendingEpisodes(both).map((e) => e.id)).toEqual(['b', 'a']);
  });

  test('that is asked for is one of a bounded number', () => {
    let volume = record({ chain });
    for (let i = 0; i < maxAskedEpisodes; i += 1) {
      volume = step(volume, (v) => beginEpisode(v, wish(`e${i}`, { asked: true })));
    }
    refuses(() => beginEpisode(volume, wish('more', { asked: true })), 'not-allowed');
  });

  test('of a snapshot shows what that does, and stands in the order of the layers', () => {
    const old = record({
      chain,
      snapshots: [{ id: 's', name: 'old', layer: 'layer-1', sizeBytes: mebibyte, createdAt: at }],
      episodes: [episode('new', 'layer-3')],
    });
    const { at: _, ...asked } = wish('a', { asked: true });
    const after = step(old, (v) => beginEpisodeOf(v, 'old', asked));
    expect(after.episodes?.map((e) => [e.id, e.layer, e.sizeBytes])).toEqual([
      ['a', 'layer-1', mebibyte],
      ['new', 'layer-3', 64 * mebibyte],
    ]);
  });

  test('moves with its layer into a merged one', () => {
    const built = { manifest: 'root', bytes: 1, replicas: replicas('n1', 'n2') };
    const merge = { layers: ['layer-1', 'layer-2'], into: 'merged', builder: 'n1', ...built };
    const before = record({ chain, merge, episodes: [episode('a', 'layer-2')] });
    const after = step(before, (v) => completeMerge(v, 'merged'));
    expect(after.episodes?.[0]?.layer).toBe('merged');
  });

  test('goes with what a revert or a loss takes away, and with the volume', () => {
    const episodes = [
      episode('a', 'layer-1', { backup: 'x' }),
      episode('b', 'layer-3', { backup: 'y', target: 's3' }),
    ];
    const snapshots = [
      { id: 's', name: 's', layer: 'layer-2', sizeBytes: 64 * mebibyte, createdAt: at },
    ];
    const before = record({ chain, episodes, snapshots });
    expect(step(before, (v) => revertTo(v, 's')).episodes?.map((e) => e.id)).toEqual(['a']);
    const gone = step(record({ chain, episodes, episodePlan: plan }), markDeleted);
    expect(gone).not.toHaveProperty('episodes');
    expect(gone).not.toHaveProperty('episodePlan');
    // What is believed now may be other than what was backed up.
    const doubtful = record({ chain: [sealed(1, ['n1?'])], episodes: episodes.slice(0, 1) });
    const there = [{ layer: 'layer-1', writtenAt: at }];
    const reached = [{ node: 'n1', pool: poolOf('n1'), boot: bootOf('n1'), layers: there }];
    const decision = { at, by: 'root', node: 'n1', text: [] };
    const decided = acceptLoss(doubtful, planLoss(doubtful, reached), decision);
    expect(decided).not.toHaveProperty('episodes');
  });
});

describe('the base of the next backup', () => {
  test('is the newest that is on the same target, at or below it', () => {
    const volume = record({
      chain,
      episodes: [
        episode('a', 'layer-1', { backup: 'x' }),
        episode('snap', 'layer-2'),
        episode('other', 'layer-3', { backup: 'z', target: 's3' }),
        episode('b', 'layer-3'),
      ],
    });
    const of = (id: string) => volume.episodes?.find((e) => e.id === id) as Episode;
    expect(baseOf(volume, of('b'))?.id).toBe('a');
    expect(baseOf(volume, of('snap'))?.id).toBe('a');
    expect(baseOf(volume, { ...of('b'), target: 's3' })?.id).toBe('other');
    const newer = record({ chain, episodes: [of('snap'), { ...of('b'), backup: 'y' }] });
    expect(baseOf(newer, of('snap'))).toBeNull();
  });

  test('replaces the one before it, whose layer is loose then', () => {
    const before = record({
      chain,
      tail: open(4, ['n1', 'n2']),
      attachments: [attachment('n1')],
      episodes: [
        episode('a', 'layer-1', { backup: 'x' }),
        episode('b', 'layer-3', { failed: ['n2'] }),
      ],
    });
    const after = step(before, (v) => recordShipped(v, 'b', 'y'));
    expect(after.episodes).toEqual([episode('b', 'layer-3', { backup: 'y' })]);
    expect(after.loose).toEqual(['layer-1']);
    expect(recordShipped(after, 'b', 'again')).toBe(after);
    expect(recordShipped(after, 'unknown', 'z')).toBe(after);
  });

  test('an older one that is shipped later does not take its place', () => {
    const episodes = [episode('snap', 'layer-1'), episode('b', 'layer-3', { backup: 'y' })];
    const after = step(record({ chain, episodes }), (v) => recordShipped(v, 'snap', 'x'));
    expect(after.episodes?.map((e) => e.id)).toEqual(['b']);
  });

  test('is kept for a bounded number of targets, and always for that of the plan', () => {
    let volume = record({ chain, episodePlan: plan });
    const names = ['nas', ...Array.from({ length: maxBases + 2 }, (_, i) => `t${i}`)];
    for (const [i, target] of names.entries()) {
      const time = new Date(Date.parse(at) + i * 1000).toISOString();
      volume = step(volume, (v) =>
        beginEpisode(v, wish(target, { target, at: time, asked: true })),
      );
      volume = step(volume, (v) => recordShipped(v, target, `in-${target}`));
    }
    const kept = volume.episodes?.map((e) => e.target);
    expect(kept).toEqual(['nas', ...names.slice(-maxBases)]);
    expect(basesOn(volume, 't0')).toEqual([]);
  });
});

describe('nodes that fail', () => {
  test('are noted until all have, and then all are tried again', () => {
    const volume = record({ chain, episodes: [episode('a', 'layer-3')] });
    const one = step(volume, (v) => recordFailed(v, 'a', 'n1', ['n1', 'n2']));
    expect(one.episodes?.[0]?.failed).toEqual(['n1']);
    expect(recordFailed(one, 'a', 'n1', ['n1', 'n2'])).toBe(one);
    const both = step(one, (v) => recordFailed(v, 'a', 'n2', ['n1', 'n2']));
    expect(both.episodes?.[0]).not.toHaveProperty('failed');
  });
});

describe('a plan', () => {
  test('is set, changed and taken away', () => {
    const volume = record({ chain });
    const planned = step(volume, (v) => setEpisodePlan(v, plan));
    expect(planned.episodePlan).toEqual(plan);
    expect(setEpisodePlan(planned, { ...plan })).toBe(planned);
    expect(step(planned, (v) => setEpisodePlan(v, null))).toEqual(volume);
  });

  test('takes what it kept of the volume with it, and nothing that was asked for', () => {
    const volume = record({
      chain,
      episodePlan: plan,
      episodes: [
        episode('base', 'layer-1', { backup: 'x' }),
        episode('waits', 'layer-2'),
        episode('asked', 'layer-3', { asked: true }),
        episode('other', 'layer-3', { target: 's3', backup: 'z' }),
      ],
    });
    const ids = (v: Volume) => v.episodes?.map((e) => e.id);
    expect(ids(step(volume, (v) => setEpisodePlan(v, { ...plan, everyMinutes: 5 })))).toHaveLength(
      4,
    );
    const moved = step(volume, (v) => setEpisodePlan(v, { ...plan, target: 's3' }));
    expect(ids(moved)).toEqual(['asked', 'other']);
    const off = step(volume, (v) => setEpisodePlan(v, null));
    expect(ids(off)).toEqual(['asked', 'other']);
    expect(off.loose).toEqual(['layer-1', 'layer-2']);
  });

  test('that cannot be is refused', () => {
    const volume = record({ chain });
    const set = (changes: Partial<EpisodePlan>) => () =>
      setEpisodePlan(volume, { ...plan, ...changes });
    for (const everyMinutes of [0, -1, 1.5, Number.NaN, 1e9]) {
      refuses(set({ everyMinutes }), 'bad-input');
    }
    for (const keep of [{}, { last: 0 }, { daily: -1 }, { last: 1.5 }, { last: 1e9 }]) {
      refuses(set({ keep }), 'bad-input');
    }
    refuses(() => setEpisodePlan(record({ chain, role: 'image' }), plan), 'not-allowed');
    refuses(() => setEpisodePlan(markDeleted(volume), plan), 'conflict');
  });
});

describe('the invariants refuse', () => {
  const base = record({ chain, episodes: [episode('a', 'layer-2', { backup: 'x' })] });
  const changed = (changes: Partial<Episode>): Volume => ({
    ...base,
    episodes: [{ ...episode('a', 'layer-2', { backup: 'x' }), ...changes }],
  });

  test('an episode that shows something else, or was shipped elsewhere', () => {
    for (const changes of [
      { layer: 'layer-3' },
      { sizeBytes: 1 },
      { backup: 'y' },
      { target: 's3' },
    ]) {
      refuses(() => assertStep(base, changed(changes)), 'rule-broken');
    }
    expect(() => assertStep(base, dropEpisode(base, 'a'))).not.toThrow();
  });

  test('a record whose episodes cannot be', () => {
    const wrong = (episodes: Episode[]) => () => assertRecord({ ...base, episodes });
    refuses(wrong([episode('a', 'gone')]), 'rule-broken');
    refuses(wrong([episode('a', 'layer-2'), episode('b', 'layer-1')]), 'rule-broken');
    refuses(wrong([episode('a', 'layer-1'), episode('a', 'layer-2')]), 'rule-broken');
    const two = ['layer-1', 'layer-2'].map((l) => episode(l, l, { backup: l }));
    refuses(wrong(two), 'rule-broken');
    refuses(() => assertRecord({ ...base, role: 'image' }), 'rule-broken');
  });

  test('a merge across one', () => {
    const merged = { ...base, chain: base.chain.slice(1) };
    expect(() => assertStep(base, merged)).toThrow();
    const snapshot = addSnapshot(base, { id: 's', name: 's', createdAt: at });
    expect(() => assertStep(base, snapshot)).not.toThrow();
  });
});

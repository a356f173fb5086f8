import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compactStep } from '../../../src/cluster/compact.ts';
import { mergeStep } from '../../../src/cluster/merge.ts';
import {
  beginCompact,
  cancelCompact,
  endCompact,
  runsToCompact,
  wishCompact,
} from '../../../src/volume/compact.ts';
import { describeVolume } from '../../../src/volume/health.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { markMergeClean, recordMergeBuilt } from '../../../src/volume/merge.ts';
import { removeSnapshot } from '../../../src/volume/snapshots.ts';
import type { NodeView, Volume } from '../../../src/volume/types.ts';
import { nodeDown, nodeUp } from '../api-fake-service.ts';
import { open, poolOf, record, refuses, sealed } from './fixtures.ts';

const nodes = ['n1', 'n2'].map(nodeUp);
const chain = [1, 2, 3, 4, 5].map((epoch) => sealed(epoch, ['n1', 'n2']));
const mark = (name: string, layer: string) => ({
  id: name,
  name,
  layer,
  sizeBytes: 1,
  createdAt: '',
});
const marked = {
  clones: [{ volume: 'c1', layer: 'layer-1' }],
  snapshots: [mark('s3', 'layer-3'), mark('s4', 'layer-4')],
};

type Content = Map<number, number>;

/** What is seen of layers, the newest last. */
function seen(layers: readonly string[], contents: ReadonlyMap<string, Content>): Content {
  return new Map(layers.flatMap((id) => [...(contents.get(id) ?? [])]));
}

/**
 * Plays the coordinator and the nodes until nothing is left to do; each step is allowed.
 * @param contents of the layers; gets those of what is made.
 * @param between what may happen between two steps.
 */
function played(
  begun: Volume,
  view: NodeView[] = nodes,
  contents = new Map<string, Content>(),
  between: (volume: Volume) => Volume = (same) => same,
): { volume: Volume; texts: string[] } {
  let volume = begun;
  const texts: string[] = [];
  const step = (next: Volume) => {
    assertStep(volume, next);
    volume = next;
  };
  for (let made = 0; made < 40; made += 1) {
    step(between(volume));
    const newId = () => `new-${made}`;
    const planned =
      compactStep(volume, { nodes: view, newId }) ?? mergeStep(volume, { nodes: view, newId });
    if (planned !== null) {
      texts.push(planned.text);
      step(planned.apply(volume));
    }
    const { merge } = volume;
    if (merge !== null && merge.manifest === null) {
      contents.set(merge.into, seen(merge.layers, contents));
      const others = ['n2'].map((node) => ({ node, pool: poolOf(node) }));
      step(recordMergeBuilt(volume, merge.into, { root: 'r', bytes: 1 }, others));
      step(markMergeClean(volume, merge.into, 'n2'));
    } else if (planned === null) return { volume, texts };
  }
  throw new Error('it never ends');
}

describe('a compact', () => {
  test('writes each run anew once, the smallest first, and leaves what clones and snapshots need', () => {
    const wished = wishCompact(record({ chain, ...marked }));
    const { volume, texts } = played(wished);
    expect(texts).toEqual([
      'layers 4 are being written anew on n1',
      'layers that were written anew are put in place',
      'layers 2, 3 are being written anew on n1',
      'layers that were written anew are put in place',
      'layers 5 are being written anew on n1',
      'layers that were written anew are put in place',
      'it is compacted',
    ]);
    expect(volume.compact).toBeUndefined();
    expect(volume.chain.map((l) => [l.id, l.epoch])).toEqual([
      ['layer-1', 1],
      ['new-2', 3],
      ['new-0', 4],
      ['new-4', 5],
    ]);
    expect(volume.snapshots?.map((s) => s.layer)).toEqual(['new-2', 'new-0']);
    expect(volume.clones).toEqual(marked.clones);
    expect(volume.garbage.map((g) => g.layer).sort()).toEqual([
      'layer-2',
      'layer-3',
      'layer-4',
      'layer-5',
    ]);
  });

  test('of what is open leaves layers that were sealed later', () => {
    const wished = wishCompact(record({ chain: chain.slice(0, 2) }));
    const later = record({
      ...wished,
      epoch: 5,
      chain: chain.slice(0, 4),
      tail: open(5, ['n1', 'n2']),
    });
    const { volume } = played(later);
    expect(volume.chain.map((l) => l.id)).toEqual(['new-0', 'layer-3', 'layer-4']);
  });

  test('of what has no layers, or was asked for already, changes nothing', () => {
    const empty = record({});
    expect(wishCompact(empty)).toBe(empty);
    const wished = wishCompact(record({ chain }));
    expect(wishCompact(wished)).toBe(wished);
    expect(endCompact(wished)).toBe(wished);
    expect(cancelCompact(empty)).toBe(empty);
  });

  test('waits for room beside each copy, and for a node that is down', () => {
    const large = chain.map((l) => ({ ...l, bytes: 200 * 2 ** 30 }));
    const waits = wishCompact(record({ chain: large }));
    expect(played(waits).texts).toEqual([]);
    expect(describeVolume(waits, nodes, []).work.map(({ what }) => what)).toEqual([
      '1 run of layers is to be written anew, where there is room and all copies are whole.',
    ]);
    const fits = wishCompact(record({ chain: large.slice(0, 2) }));
    expect(played(fits).texts).toHaveLength(3);
    expect(played(fits, [nodeUp('n1'), nodeDown('n2')]).texts).toEqual([]);
  });

  test('changes nothing that the volume, a snapshot or a clone shows, and ends', () => {
    const layer = fc.record({
      blocks: fc.array(fc.nat({ max: 5 }), { maxLength: 4 }),
      mark: fc.boolean(),
      deleted: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 7 }), fc.nat(), (made, cloned) => {
        const contents = new Map(
          made.map(({ blocks }, i) => [
            `layer-${i + 1}`,
            new Map(blocks.map((block) => [block, i + 1])),
          ]),
        );
        const layers = made.map((_, i) => sealed(i + 1, ['n1', 'n2']));
        const snapshots = made.flatMap(({ mark: is }, i) =>
          is ? [mark(`s${i + 1}`, `layer-${i + 1}`)] : [],
        );
        const clones = cloned % 3 === 0 ? [{ volume: 'c', layer: 'layer-1' }] : [];
        const begun = record({ epoch: 9, chain: layers, snapshots, clones });
        const upTo = (v: Volume, id: string | null) => {
          const ids = v.chain.map((l) => l.id);
          return seen(ids.slice(0, ids.indexOf(id ?? '') + 1), contents);
        };
        const before = begun.snapshots?.map((s) => [s.id, upTo(begun, s.layer)] as const);
        const all = upTo(begun, begun.chain.at(-1)?.id ?? null);
        // Snapshots are deleted while it goes on.
        const going = new Set(made.flatMap((l, i) => (l.mark && l.deleted ? [`s${i + 1}`] : [])));
        const between = (v: Volume) => {
          const [next] = going;
          if (next === undefined || v.merge === null) return v;
          going.delete(next);
          return removeSnapshot(v, next);
        };
        const { volume } = played(wishCompact(begun), nodes, contents, between);
        expect(volume.compact).toBeUndefined();
        expect(upTo(volume, volume.chain.at(-1)?.id ?? null)).toEqual(all);
        for (const { id, layer: end } of volume.snapshots ?? []) {
          expect(upTo(volume, end)).toEqual(before?.find(([was]) => was === id)?.[1]);
        }
        if (clones.length > 0) expect(volume.chain[0]).toEqual(begun.chain[0]);
      }),
      { numRuns: 300 },
    );
  });

  test('that is given up deletes what is being built, and keeps what is done', () => {
    const wished = wishCompact(record({ chain, ...marked }));
    const step = compactStep(wished, { nodes, newId: () => 'new' });
    const begun = step?.apply(wished) ?? wished;
    expect(begun.merge).toMatchObject({ layers: ['layer-4'], rewrite: true });
    const ended = cancelCompact(begun);
    assertStep(begun, ended);
    expect(ended).toMatchObject({ merge: null, chain, garbage: [{ layer: 'new' }] });
    expect(runsToCompact(ended)).toEqual([]);
    const at = { node: 'n1', pool: poolOf('n1') };
    refuses(ended, (v) => beginCompact(v, ['layer-4'], 'x', at), /nobody wishes for it/);
    refuses(wished, (v) => beginCompact(v, ['layer-1'], 'x', at), /as it is/);
    refuses(record({ tail: { phase: 'deleting' } }), wishCompact, /being deleted/);
  });
});

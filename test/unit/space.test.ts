/** What volumes, nodes and the cluster take, against plain models of their files. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clusterView } from '../../src/api/views.ts';
import { clusterSpace, nodeSpace, volumeSpace } from '../../src/volume/space.ts';
import { filesOf, type PoolMeasure } from '../../src/volume/space-files.ts';
import { growthRoom, poolLevel, roomOn, unrepairable } from '../../src/volume/space-room.ts';
import type { NodeView, SealedLayer, Volume } from '../../src/volume/types.ts';
import { FakeService, nodeDown, nodeUp, unsealed, volumeRecord } from './api-fake-service.ts';

const mib = 2 ** 20;
const gib = 2 ** 30;
const names = ['n1', 'n2', 'n3', 'n4'];
const some = fc.subarray(names, { minLength: 1 });

type Shape = {
  chain: string[][];
  open: string[] | null;
  garbage: string[][];
  /** How many of the layers a clone shows. */
  shared: number;
};

const shape: fc.Arbitrary<Shape> = fc.record({
  chain: fc.array(some, { maxLength: 4 }),
  open: fc.option(some),
  garbage: fc.array(some, { maxLength: 2 }),
  shared: fc.nat({ max: 4 }),
});

/** Records with layers on these nodes; ids of layers are unique in the cluster. */
function volumesOf(shapes: readonly Shape[]): Volume[] {
  return shapes.map(({ chain, open, garbage, shared }, number) => {
    const id = `v${number}`;
    const sealed = chain.map((nodes, i): SealedLayer => layer(`${id}-${i}`, i + 1, nodes));
    const top = sealed[Math.min(shared, sealed.length) - 1];
    return volumeRecord({
      id,
      name: id,
      epoch: 99,
      chain: sealed,
      tail:
        open === null
          ? { phase: 'idle' }
          : {
              phase: 'open',
              reason: 'attach',
              layer: { ...unsealed(50, open), id: `${id}-open` },
            },
      garbage: garbage.map((nodes, i) => ({
        layer: `${id}-garbage-${i}`,
        epoch: 1,
        afterEpoch: 0,
        holders: nodes.map((node) => ({ node, pool: `pool-${node}` })),
      })),
      ...(top === undefined ? {} : { clones: [{ volume: 'clone', layer: top.id }] }),
    });
  });
}

function layer(id: string, epoch: number, nodes: readonly string[]): SealedLayer {
  const replicas = nodes.map((node) => ({ node, pool: `pool-${node}`, state: 'clean' as const }));
  return { id, epoch, sizeBytes: gib, manifest: 'm', bytes: 7, authority: 'n1', replicas };
}

function measure(node: string, files: PoolMeasure['files']): PoolMeasure {
  const pool = { totalBytes: 10 ** 9, freeBytes: 10 ** 8, ownBytes: 100, reserveBytes: 10 };
  return { node, ...pool, files };
}

describe('a plain model of files on disks', () => {
  test('held, shared and garbage of all volumes are what lies on the nodes, each byte once', () => {
    fc.assert(
      fc.property(fc.array(shape, { maxLength: 5 }), fc.nat(), (shapes, seed) => {
        const volumes = volumesOf(shapes);
        const sizes = new Map<string, number>();
        const measures = names.map((node) => {
          const files = volumes.flatMap((v) =>
            filesOf(v)
              .filter((f) => f.node === node)
              .map(({ layer: id }) => ({ volume: v.id, layer: id })),
          );
          const sized = files.map((file, i) => ({ ...file, bytes: ((i + 1) * (seed + 1)) % 1000 }));
          for (const { layer: id, bytes } of sized) sizes.set(`${node} ${id}`, bytes);
          return measure(node, sized);
        });
        const of = (part: string) =>
          [...sizes]
            .filter(([key]) => key.includes(part))
            .reduce((sum, [, bytes]) => sum + bytes, 0);
        const lookup = (id: string) => volumes.find((v) => v.id === id);
        const spaces = volumes.map((v) => volumeSpace(v, { measures, lookup }));
        for (const [i, space] of spaces.entries()) {
          expect(space.heldBytes).toBe(of(` v${i}-`));
          expect(space.garbageBytes).toBe(of(` v${i}-garbage`));
          const shared = Math.min(shapes[i]?.shared ?? 0, shapes[i]?.chain.length ?? 0);
          const seen = Array.from({ length: shared }, (_, place) => of(` v${i}-${place}`));
          expect(space.sharedBytes).toBe(seen.reduce((sum, bytes) => sum + bytes, 0));
          expect(space.copies.reduce((sum, c) => sum + c.bytes, 0)).toBe(space.heldBytes);
          expect(space.unmeasured).toEqual([]);
        }
        const cluster = clusterSpace(volumes, names.map(nodeUp), measures);
        expect(cluster.layerBytes + cluster.garbageBytes).toBe(of(''));
        expect(cluster.garbageBytes).toBe(of('-garbage'));
        expect(cluster.nodes.reduce((sum, n) => sum + n.sharedBytes, 0)).toBe(cluster.sharedBytes);
        for (const node of cluster.nodes) {
          expect(node.layerBytes + node.garbageBytes).toBe(of(`${node.node} `));
          const { totalBytes, freeBytes, ownBytes, reserveBytes, othersBytes, unknownBytes } = node;
          const ours = node.layerBytes + node.garbageBytes + (unknownBytes ?? 0);
          expect(totalBytes).toBe(
            (freeBytes ?? 0) + ours + (ownBytes ?? 0) + (reserveBytes ?? 0) + (othersBytes ?? 0),
          );
        }
      }),
    );
  });

  test('what deleting all snapshots gives back is between the bounds', () => {
    const blocks = fc.uniqueArray(fc.nat({ max: 31 }), { maxLength: 32 });
    const layers = fc.array(fc.record({ blocks, snapshot: fc.boolean() }), {
      minLength: 1,
      maxLength: 6,
    });
    let sure = 0;
    fc.assert(
      fc.property(layers, fc.boolean(), fc.integer({ min: 1, max: 3 }), (made, open, copies) => {
        const nodes = names.slice(0, copies);
        // With a layer that nothing ends inside of merged already, as merges leave it.
        const runs: { blocks: Set<number>; snapshot: boolean }[] = [];
        for (const { blocks: written, snapshot } of made) {
          const last = runs.at(-1);
          if (last === undefined || last.snapshot)
            runs.push({ blocks: new Set(written), snapshot });
          else runs[runs.length - 1] = { blocks: last.blocks.union(new Set(written)), snapshot };
        }
        // The size of each file; the tables that the bound allows for make blocks large.
        const blockBytes = 8 * mib;
        const chain = runs.map((_, i) => layer(`l${i}`, i + 1, nodes));
        const top = new Set(made.at(-1)?.blocks ?? []);
        const volume = volumeRecord({
          sizeBytes: 32 * blockBytes,
          epoch: 99,
          chain,
          tail: open
            ? { phase: 'open', reason: 'attach', layer: { ...unsealed(50, nodes), id: 'open' } }
            : { phase: 'idle' },
          snapshots: runs.flatMap((run, i) =>
            run.snapshot
              ? [{ id: `s${i}`, name: `s${i}`, layer: `l${i}`, sizeBytes: 1, createdAt: '' }]
              : [],
          ),
        });
        const files = [
          ...runs.map((run, i) => ({ layer: `l${i}`, bytes: run.blocks.size * blockBytes })),
          ...(open ? [{ layer: 'open', bytes: top.size * blockBytes }] : []),
        ];
        const measures = nodes.map((n) =>
          measure(
            n,
            files.map((f) => ({ ...f, volume: volume.id })),
          ),
        );
        const { snapshotBytes } = volumeSpace(volume, { measures, lookup: () => undefined });
        const all = runs.reduce((so, run) => so.union(run.blocks), open ? top : new Set<number>());
        // Without snapshots what nothing keeps apart is merged; that much comes back without them too.
        const lastIsApart = open && runs.at(-1)?.snapshot === false;
        const lastPair = lastIsApart ? (runs.at(-1)?.blocks.intersection(top).size ?? 0) : 0;
        const held = files.reduce((sum, f) => sum + f.bytes, 0) - lastPair * blockBytes;
        const given = (held - all.size * blockBytes) * copies;
        expect(snapshotBytes.atLeast).toBeLessThanOrEqual(given);
        expect(snapshotBytes.atMost).toBeGreaterThanOrEqual(given);
        if (snapshotBytes.atLeast > 0) sure += 1;
        const here = nodeSpace(nodeUp('n1'), [volume], measures[0] ?? null).snapshotBytes;
        expect(here.atLeast).toBeLessThanOrEqual(given / copies);
        expect(here.atMost).toBeGreaterThanOrEqual(given / copies);
      }),
      { numRuns: 500 },
    );
    expect(sure).toBeGreaterThan(0);
  });
});

test('a node that does not answer is named, and counted as its layers were sealed', () => {
  const [volume] = volumesOf([
    { chain: [['n1', 'n2']], open: ['n1', 'n2'], garbage: [], shared: 0 },
  ]);
  if (volume === undefined) throw new Error('there is one');
  const measures = [
    measure('n1', [
      { volume: 'v0', layer: 'v0-0', bytes: 5 },
      { volume: 'v0', layer: 'v0-open', bytes: 3 },
    ]),
  ];
  expect(volumeSpace(volume, { measures, lookup: () => undefined })).toMatchObject({
    heldBytes: 5 + 3 + 7,
    copies: [
      { node: 'n1', bytes: 8 },
      { node: 'n2', bytes: 7 },
    ],
    unmeasured: ['n2'],
  });
});

test('files that no record knows are told apart from what is not ours', () => {
  const measures = [measure('n1', [{ volume: 'gone', layer: 'x', bytes: 1000 }])];
  const [node] = clusterSpace([], [nodeUp('n1')], measures).nodes;
  expect(node).toMatchObject({
    layerBytes: 0,
    unknownBytes: 1000,
    othersBytes: 10 ** 9 - 10 ** 8 - 1000 - 110,
  });
});

function withRoom(name: string, bytes: number): NodeView {
  const node = nodeUp(name);
  if (node.lease === null) throw new Error('it is up');
  const freeBytes = 0.15 * 1000 * gib + bytes;
  return { ...node, lease: { ...node.lease, totalBytes: 1000 * gib, freeBytes } };
}

describe('what could still be written', () => {
  test('is as much as one byte after the other finds different nodes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 12 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 3 }),
        (rooms, copies) => {
          const left = [...rooms];
          let written = 0;
          for (;;) {
            left.sort((a, b) => b - a);
            if (left.length < copies || left[copies - 1] === 0) break;
            for (let i = 0; i < copies; i += 1) left[i] = (left[i] ?? 0) - 1;
            written += 1;
          }
          const nodes = rooms.map((room, i) => withRoom(`n${i}`, room * gib));
          expect(growthRoom(nodes, copies)).toBeGreaterThanOrEqual(written * gib - copies);
          expect(growthRoom(nodes, copies)).toBeLessThan((written + 1) * gib);
        },
      ),
    );
  });

  test('a node that is down, drained or too full has no room', () => {
    const drain = { node: 'n1', pool: 'p', at: '', by: '' };
    expect(roomOn(nodeDown('n1'))).toBe(0);
    expect(roomOn({ ...withRoom('n1', gib), drain })).toBe(0);
    expect(roomOn(withRoom('n1', -1))).toBe(0);
    expect(roomOn(withRoom('n1', gib))).toBe(gib);
  });
});

test('a warning begins at its threshold and ends two percent below it', () => {
  const limits = { warnPercent: 80, criticalPercent: 90 };
  const at = (percent: number) => withRoom('n1', (85 - percent) * 10 * gib);
  const levels: string[] = [];
  let level: ReturnType<typeof poolLevel> = 'ok';
  for (const percent of [79, 81, 79, 77, 79, 91, 89, 87, 79, 91, 77]) {
    level = poolLevel(at(percent), level, limits);
    levels.push(level);
  }
  expect(levels).toEqual([
    ...['ok', 'warn', 'warn', 'ok', 'ok'],
    ...['critical', 'critical', 'warn', 'warn', 'critical', 'ok'],
  ]);
  expect(poolLevel(nodeDown('n1'), 'critical', limits)).toBe('critical');
});

test('the status tells of pools that fill, and of a node whose loss there is no room for', () => {
  const service = new FakeService();
  service.nodeList = [withRoom('n1', 20 * gib), withRoom('n2', 20 * gib), withRoom('n3', 20 * gib)];
  const held = { ...layer('l1', 1, ['n1', 'n2']), bytes: 30 * gib };
  const record = volumeRecord({ epoch: 1, chain: [held] });
  service.records.set(record.id, record);
  const said = () => clusterView(service).findings.map(({ what }) => what);
  expect(said().filter((what) => what.includes('lost'))).toEqual([]);
  expect(unrepairable([record], service.nodeList)).toEqual([]);
  service.nodeList = [withRoom('n1', 10 * gib), withRoom('n2', 10 * gib), withRoom('n3', 10 * gib)];
  service.space.levels.set('n1', 'warn').set('n2', 'critical');
  expect(said().slice(-4)).toEqual([
    'The pool of n1 is 84 % full, more than 80 %.',
    'The pool of n2 is 84 % full, more than 90 %. Guests that write there are stopped when nothing is left.',
    'If n1 were lost, its copies could not all be made again: 30.0 GiB at least, and the others have room for 20.0 GiB.',
    'If n2 were lost, its copies could not all be made again: 30.0 GiB at least, and the others have room for 20.0 GiB.',
  ]);
  // With as many nodes as copies it is nodes that would be missing, and not space.
  expect(unrepairable([record], service.nodeList.slice(0, 2))).toEqual([]);
});

/** What happens when a record is full: nothing is begun, nothing is lost, and the reason is told. */
import { expect, test } from 'vitest';
import { HyperscaleError } from '../../../src/errors.ts';
import { attach } from '../../../src/volume/attach.ts';
import {
  maxAttachments,
  maxClones,
  maxGarbage,
  maxLayersForSeal,
  maxSealedLayers,
  maxSnapshots,
} from '../../../src/volume/bounds.ts';
import { addClone, clonePoint } from '../../../src/volume/clone.ts';
import { close, confirmOpen, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
import { addSnapshot } from '../../../src/volume/snapshots.ts';
import type { Garbage } from '../../../src/volume/types.ts';
import { attachment, bootOf, member, open, record, refuses, sealed } from './fixtures.ts';

const chain = (length: number) =>
  Array.from({ length }, (_, i) => sealed(i + 1, ['n1', 'n2'], { sizeBytes: 2 ** 26 }));
const next = { id: 'fresh', members: [member('n1'), member('n2')] };
const attachments = [attachment('n1')];

function openWith(layers: number) {
  return record({ attachments, chain: chain(layers), tail: open(layers + 1, ['n1', 'n2']) });
}

test('a chain that is long refuses seals, but not evictions, until it is full', () => {
  const long = openWith(maxLayersForSeal);
  refuses(long, (v) => prepareRoll(v, 'n1', 'seal', next), /32 sealed layers/, 'unavailable');
  expect(prepareRoll(long, 'n1', 'evict', next).tail.phase).toBe('opening');
  const full = openWith(maxSealedLayers);
  refuses(full, (v) => prepareRoll(v, 'n1', 'evict', next), /only below 64/, 'unavailable');
});

test('a full chain takes the layer that is open, and opens no other', () => {
  const prepared = prepareRoll(openWith(maxSealedLayers - 1), 'n1', 'evict', next);
  const writer = { node: 'n1', boot: bootOf('n1') };
  const opened = confirmOpen(prepared, 'fresh', writer, []);
  const closed = close(opened, 'fresh', writer, []);
  expect(closed.chain).toHaveLength(maxSealedLayers + 1);
  refuses(closed, (v) => prepareOpen(v, 'n1', next), /only below 64/, 'unavailable');
});

test('no layer is prepared while very many wait to be deleted; it names who has them', () => {
  const garbage: Garbage[] = Array.from({ length: maxGarbage }, (_, i) => ({
    layer: `old-${i}`,
    epoch: 1,
    afterEpoch: 0,
    holders: [{ node: 'n9', pool: 'pool-n9' }],
  }));
  const idle = record({ attachments, garbage });
  refuses(idle, (v) => prepareOpen(v, 'n1', next), /deleted on n9/, 'unavailable');
  const room = record({ attachments, garbage: garbage.slice(1) });
  expect(prepareOpen(room, 'n1', next).tail.phase).toBe('opening');
});

test('one volume is attached on so many hosts and no more', () => {
  const all = Array.from({ length: maxAttachments }, (_, i) => attachment(`h${i}`));
  const busy = record({ attachments: all });
  refuses(busy, (v) => attach(v, attachment('one-more')), /attached on 64 hosts/, 'not-allowed');
  expect(attach(busy, attachment('h3', 'rebooted')).attachments).toHaveLength(maxAttachments);
});

test('what is refused at its bound says how to go on', () => {
  const snapshots = Array.from({ length: maxSnapshots }, (_, i) => mark(i, 'layer-32'));
  const clones = Array.from({ length: maxClones }, (_, i) => ({
    volume: `c${i}`,
    layer: 'layer-1',
  }));
  const full = record({ chain: chain(maxLayersForSeal), snapshots, clones });
  const noted = { id: 'new', name: 'new', createdAt: '' };
  const steps: [() => unknown, RegExp][] = [
    [() => addSnapshot(full, noted), /Delete some, or back the volume up/],
    [() => addClone(full, { volume: 'new', layer: 'layer-1' }), /Flatten some of them/],
    [() => clonePoint(full, null), /hscli volume flatten|delete snapshots/],
    [
      () => prepareRoll({ ...openWith(maxLayersForSeal), snapshots }, 'n1', 'seal', next),
      /delete some \(hscli snapshot list/,
    ],
  ];
  for (const [step, hint] of steps) expect(hintOf(step)).toMatch(hint);
  // One less of each, and it goes on.
  const room = { ...full, snapshots: snapshots.slice(1), clones: clones.slice(1) };
  expect(addSnapshot(room, noted).snapshots).toHaveLength(maxSnapshots);
  const cloned = addClone(room, { volume: 'new', layer: 'layer-1' });
  expect(cloned.clones).toHaveLength(maxClones);
});

test('a record at all its bounds fits into etcd', () => {
  const hex = (i: number) => i.toString(16).padStart(32, '0');
  const uuid = (i: number) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
  const full = record({
    chain: chain(maxSealedLayers),
    snapshots: Array.from({ length: maxSnapshots }, (_, i) => ({
      ...mark(i, hex(i)),
      ...{ id: hex(i), name: 'x'.repeat(63), group: hex(i) },
    })),
    clones: Array.from({ length: maxClones }, (_, i) => ({ volume: uuid(i), layer: hex(i) })),
    garbage: Array.from({ length: maxGarbage }, (_, i) => ({
      ...{ layer: hex(i), epoch: i, afterEpoch: i },
      holders: ['n1', 'n2', 'n3'].map((node) => ({ node, pool: uuid(i) })),
    })),
    attachments: Array.from({ length: maxAttachments }, (_, i) => attachment(`host-${i}`)),
  });
  expect(Buffer.byteLength(JSON.stringify(full))).toBeLessThan(1.5 * 2 ** 20);
});

function mark(i: number, layer: string) {
  const createdAt = '2026-01-01T00:00:00.000Z';
  return { id: `s${i}`, name: `s${i}`, layer, sizeBytes: 2 ** 26, createdAt };
}

function hintOf(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    if (error instanceof HyperscaleError) return error.hint ?? '';
  }
  return 'it was not refused';
}

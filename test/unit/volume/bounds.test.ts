/** What happens when a record is full: nothing is begun, nothing is lost, and the reason is told. */
import { expect, test } from 'vitest';
import { attach } from '../../../src/volume/attach.ts';
import {
  maxAttachments,
  maxGarbage,
  maxLayersForSeal,
  maxSealedLayers,
} from '../../../src/volume/bounds.ts';
import { close, confirmOpen, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
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

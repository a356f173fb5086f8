/** A writer whose own disk fails lets another member serve, and everything of that goes again. */
import { describe, expect, test } from 'vitest';
import { attach, detach } from '../../../src/volume/attach.ts';
import { consumersOf } from '../../../src/volume/attachments.ts';
import { completeFencing } from '../../../src/volume/fence.ts';
import { handOver } from '../../../src/volume/hand-over.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import type { Attachment, Volume } from '../../../src/volume/types.ts';
import { attachment, bootOf, open, opening, record, sealed, unsealed } from './fixtures.ts';

const hosts = (volume: Volume) => volume.attachments.map((a) => a.host);
const taker = (host: string): Attachment => ({ ...attachment(host), session: `taker-${host}` });

const written = record({ attachments: [attachment('n1')], tail: open(3, ['n1', 'n2']) });

function handed(volume: Volume, writer: string, to: string): Volume {
  const next = handOver(volume, writer, taker(to));
  assertStep(volume, next);
  return next;
}

/** The taker ends the epoch, and its own head serves. */
function served(volume: Volume, by: string): Volume {
  const fenced = [{ node: by, pool: `pool-${by}`, boot: bootOf(by), holds: true }];
  const done = completeFencing(volume, by, fenced, by);
  return { ...done, tail: open(9, [by, 'n4']) };
}

describe('the writer gives up', () => {
  test('and the taker ends its epoch, first of the attachments', () => {
    const next = handed(written, 'n1', 'n2');
    expect(next.tail).toMatchObject({ phase: 'fencing', taker: 'n2', writerEnded: true });
    expect(next.attachments).toEqual([{ ...taker('n2'), standInFor: 'n1' }, attachment('n1')]);
    expect(consumersOf(next)).toEqual([attachment('n1')]);
    expect(served(next, 'n2').chain.at(-1)).toMatchObject({
      authority: 'n2',
      replicas: [
        { node: 'n1', state: 'unverified' },
        { node: 'n2', state: 'clean' },
      ],
    });
  });

  test('and a taker with consumers keeps its own attachment', () => {
    const both = { ...written, attachments: [attachment('n1'), attachment('n2')] };
    expect(handed(both, 'n1', 'n2').attachments).toEqual([attachment('n2'), attachment('n1')]);
    const old = { ...attachment('n2'), boot: 'earlier' };
    const stale = { ...written, attachments: [attachment('n1'), old] };
    expect(handed(stale, 'n1', 'n2').attachments[0]).toMatchObject({ standInFor: 'n1' });
  });

  test('in the middle of a roll, and before anything was served', () => {
    const rolling = {
      ...written,
      tail: opening(unsealed(4, ['n1', 'n3']), unsealed(3, ['n1', 'n2'])),
    };
    const next = handed({ ...rolling, epoch: 4 }, 'n1', 'n2');
    expect(next.tail).toMatchObject({ phase: 'fencing', unsealed: { epoch: 3 } });
    const first = record({
      attachments: [attachment('n1')],
      chain: [sealed(3, ['n1', 'n2'])],
      tail: opening(unsealed(4, ['n1', 'n3']), null),
    });
    expect(handed(first, 'n1', 'n2')).toMatchObject({ tail: { phase: 'idle' } });
    expect(hosts(handed(first, 'n1', 'n2'))).toEqual(['n2', 'n1']);
  });

  test('without an attachment, and then nobody stands in', () => {
    expect(handed({ ...written, attachments: [] }, 'n1', 'n2').attachments).toEqual([]);
  });

  test('only what it writes, and only to a member of the same boot', () => {
    const refused = expect.objectContaining({ code: 'conflict' });
    expect(() => handOver(written, 'n2', taker('n1'))).toThrow(refused);
    expect(() => handOver(written, 'n1', taker('n3'))).toThrow(refused);
    expect(() => handOver(written, 'n1', { ...taker('n2'), boot: 'later' })).toThrow(refused);
    expect(() => handOver(record({}), 'n1', taker('n2'))).toThrow(refused);
  });
});

describe('who stands in', () => {
  const away = served(handed(written, 'n1', 'n2'), 'n2');

  test('goes with the host for which it does', () => {
    expect(detach(away, 'n1').attachments).toEqual([]);
    expect(hosts(detach(attach(away, attachment('n3')), 'n1'))).toEqual(['n3']);
  });

  test('can be taken out alone, so that the volume comes back', () => {
    expect(hosts(detach(away, 'n2'))).toEqual(['n1']);
  });

  test('becomes one of its own when a consumer comes there', () => {
    const real = attach(away, attachment('n2'));
    expect(consumersOf(real).map((a) => a.host)).toEqual(['n2', 'n1']);
    expect(hosts(detach(real, 'n1'))).toEqual(['n2']);
  });

  test('is replaced when its disk fails too, and stands for the same host', () => {
    const further = handed({ ...away, epoch: 9, tail: open(9, ['n2', 'n3']) }, 'n2', 'n3');
    expect(further.attachments).toMatchObject([{ host: 'n3', standInFor: 'n1' }, { host: 'n1' }]);
    expect(detach(further, 'n1').attachments).toEqual([]);
  });
});

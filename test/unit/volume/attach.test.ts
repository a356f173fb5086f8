import { describe, expect, test } from 'vitest';
import { attach, detach } from '../../../src/volume/attach.ts';
import { assertStep } from '../../../src/volume/invariants.ts';
import { attachment, open, record, refuses } from './fixtures.ts';

describe('attach', () => {
  test('records the consumer of a host', () => {
    const before = record();
    const after = attach(before, attachment('n1'));
    expect(after.attachments).toEqual([attachment('n1')]);
    assertStep(before, after);
  });

  test('the same host in the same boot keeps its session', () => {
    const before = record({ attachments: [attachment('n1')] });
    const again = attach(before, { ...attachment('n1'), session: 'another', since: 'later' });
    expect(again).toBe(before);
  });

  test('after a reboot the consumer is another one and gets a new session (rule 15)', () => {
    const before = record({ attachments: [attachment('n1'), attachment('n2')] });
    const rebooted = { ...attachment('n1', 'second-boot'), session: 'new' };
    const after = attach(before, rebooted);
    expect(after.attachments).toEqual([attachment('n2'), rebooted]);
    assertStep(before, after);
  });

  test('a second host does not disturb the first', () => {
    const before = record({ attachments: [attachment('n1')], tail: open(1, ['n1', 'n2']) });
    const after = attach(before, attachment('n3'));
    expect(after.attachments.map((a) => a.host)).toEqual(['n1', 'n3']);
    expect(after.tail).toEqual(before.tail);
  });

  test('a volume that is being deleted cannot be attached', () => {
    const deleted = record({ tail: { phase: 'deleting' } });
    refuses(deleted, (v) => attach(v, attachment('n1')), /being deleted/);
  });
});

describe('detach', () => {
  test('revokes only that host', () => {
    const before = record({ attachments: [attachment('n1'), attachment('n2')] });
    const after = detach(before, 'n1');
    expect(after.attachments).toEqual([attachment('n2')]);
    assertStep(before, after);
  });

  test('of a host that is not attached changes nothing', () => {
    const before = record({ attachments: [attachment('n1')] });
    expect(detach(before, 'n2')).toBe(before);
  });
});

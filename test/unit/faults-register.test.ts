/** The judge of the fault tests: it accepts what one register can show, and nothing else. */
import { expect, test } from 'vitest';
import { contentOf, History, type Operation, torn, valueIn } from '../faults/history.ts';
import { judge } from '../faults/register.ts';

const never = Number.POSITIVE_INFINITY;

function write(value: number, invoked: number, completed: number, client = 'a'): Operation {
  return { kind: 'write', value, invoked, completed, acknowledged: true, client };
}

/** A write that nobody answered; it can take effect until `settled`. */
function lost(value: number, invoked: number, settled = never): Operation {
  return { ...write(value, invoked, settled), acknowledged: false };
}

function read(value: number, invoked: number, completed: number, client = 'b'): Operation {
  return { kind: 'read', value, invoked, completed, acknowledged: true, client };
}

const possible: [string, Operation[]][] = [
  ['nothing happened', []],
  ['a block that was never written', [read(0, 1, 2)]],
  ['one write, then a read of it', [write(1, 1, 2), read(1, 3, 4)]],
  ['a read during a write sees the old content', [write(1, 1, 9), read(0, 2, 3)]],
  ['a read during a write sees the new content', [write(1, 1, 9), read(1, 2, 3)]],
  ['old, then new, during one write', [write(1, 1, 9), read(0, 2, 3), read(1, 4, 5)]],
  ['two writes at once, in either order', [write(1, 1, 5), write(2, 1, 5), read(1, 6, 7)]],
  ['a write without an answer took effect', [write(1, 1, 2), lost(2, 3), read(2, 5, 6)]],
  ['a write without an answer took none', [write(1, 1, 2), lost(2, 3), read(1, 5, 6)]],
  ['it takes effect late', [write(1, 1, 2), lost(2, 3), read(1, 5, 6), read(2, 7, 8)]],
  ['it takes effect before it is settled', [lost(2, 3, 9), read(0, 5, 6), read(2, 8, 10)]],
];

test.each(possible)('possible: %s', (_name, operations) => {
  expect(judge(operations)).toEqual({ right: true, vanished: false });
});

const vanished: [string, Operation[]][] = [
  ['new, then old again, during one write', [write(1, 1, 9), read(1, 2, 3), read(0, 4, 5)]],
  [
    'a lost write was seen, and is gone with its node',
    [lost(2, 3, 9), read(2, 4, 5), read(0, 6, 7)],
  ],
  [
    'a write that is repeated is seen twice',
    [write(1, 1, 9), read(1, 2, 3), read(0, 4, 5), read(1, 6, 7), read(1, 10, 11)],
  ],
];

test.each(vanished)('possible only because a head died: %s', (_name, operations) => {
  expect(judge(operations)).toEqual({ right: true, vanished: true });
});

const impossible: [string, Operation[]][] = [
  ['an acknowledged write is lost', [write(1, 1, 2), read(0, 3, 4)]],
  ['a later read goes back', [write(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)]],
  [
    'stale content from a head that was superseded',
    [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
  ],
  ['content that nobody wrote', [write(1, 1, 2), read(7, 3, 4)]],
  ['a torn block', [write(1, 1, 2), read(torn, 3, 4)]],
  ['a read of the future', [read(1, 1, 2), write(1, 3, 4)]],
  [
    'a write lands after it was settled',
    [write(1, 1, 2), lost(2, 3, 4), read(1, 5, 6), read(2, 7, 8)],
  ],
  [
    'a write that was seen after it was settled is gone',
    [lost(2, 1, 4), read(2, 5, 6), read(0, 7, 8)],
  ],
  [
    'an acknowledged write is undone by one without an answer that is gone again',
    [write(1, 1, 2), lost(2, 3, 9), read(2, 4, 5), read(0, 6, 7)],
  ],
  [
    'two readers disagree about the order of two writes',
    [write(1, 1, 2), write(2, 1, 2), read(1, 3, 4), read(2, 5, 6), read(1, 7, 8)],
  ],
];

test.each(impossible)('impossible: %s', (_name, operations) => {
  expect(judge(operations)).toMatchObject({ right: false });
});

/** Many operations of three clients in a real register, then one of them falsified. */
function longHistory(): Operation[] {
  const operations: Operation[] = [];
  let held = 0;
  for (let time = 0; time < 6_000; time += 3) {
    const number = time / 3;
    if (number % 4 === 0) {
      held = number + 1;
      operations.push(write(held, time - 2, time + 2));
    } else {
      operations.push(read(held, time - 2, time + 2, `c${number % 3}`));
    }
  }
  return operations;
}

test('a long history is judged, and one old answer in it is found', () => {
  const operations = longHistory();
  expect(judge(operations)).toMatchObject({ right: true });
  const index = operations.findIndex((o) => o.kind === 'read' && o.invoked > 3_000);
  const read = operations[index]!;
  const older = operations.filter((o) => o.kind === 'write' && o.completed < read.invoked).at(-2)!;
  operations[index] = { ...read, value: older.value };
  const verdict = judge(operations);
  expect(verdict).toMatchObject({ right: false });
  if (!verdict.right) expect(verdict.stuck).toContain(operations[index]);
});

test('a block tells whose it is and which write it holds', () => {
  expect(valueIn(3, contentOf(3, 17))).toBe(17);
  expect(valueIn(4, contentOf(3, 17))).toBe(torn);
  expect(valueIn(3, Buffer.alloc(4096))).toBe(0);
  const mixed = contentOf(3, 17);
  contentOf(3, 18).copy(mixed, 2048, 2048);
  expect(valueIn(3, mixed)).toBe(torn);
});

test('only the client whose consumer is gone has its writes settled', () => {
  const history = new History();
  history.add(1, lost(1, 1));
  history.add(1, { ...lost(2, 2), client: 'b' });
  history.settle('a', 10);
  expect(history.blocks.get(1)?.map((o) => o.completed)).toEqual([10, never]);
  expect(history.writtenBytes).toBe(0);
});

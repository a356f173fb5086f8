/** Faults of every kind on real processes: what was acknowledged is there, and all becomes well. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepEvidence } from './evidence.ts';
import { faultKinds } from './fault-kinds.ts';
import { runSchedule } from './run-schedule.ts';
import { parseSchedule } from './schedule.ts';
import { Stage } from './stage.ts';

/** Together they let every kind of fault strike. */
const schedules: [string, string][] = [
  [
    'processes die',
    `0.2s kill-replica-server n1; 0.5s kill-proxy proxy; 1.0s kill-watchdog n1; 1.2s kill-gateway writer;
     1.5s kill-head writer; 2.5s kill-etcd store for 1.0s; 4.5s seal writer`,
  ],
  [
    'processes die while no daemon sees it',
    '0.0s kill-daemon n1 for 2.0s; 0.0s kill-daemon n2 for 1.5s; 0.5s kill-gateway n1; 0.5s kill-proxy n2; 1.0s kill-head n1',
  ],
  [
    'processes freeze',
    `0.0s freeze-watchdog n1 for 4.0s; 0.2s freeze-daemon n3 for 3.0s; 0.5s freeze-proxy proxy for 1.0s;
     1.0s freeze-gateway writer for 1.0s; 1.5s freeze-etcd store for 1.0s; 2.0s freeze-head writer for 1.5s;
     3.0s freeze-replica-server n2 for 3.0s`,
  ],
  [
    'the network breaks',
    `0.0s cut-between n1+n3 for 2.5s; 0.5s cut-from-store n2 for 2.0s; 1.0s slow-link n4 for 2.0s;
     3.0s cut-one-way n2+n1 for 2.5s; 3.5s loss n3 for 2.0s; 6.0s unplug n4 for 1.0s`,
  ],
  ['the writer is cut off, and taken over', '0.0s cut n1 for 8.0s'],
  [
    'the head comes back where it was, unseen by the other host',
    // Frozen, it leaves n2 with requests that were sent and not answered, which n1 forgets.
    '0.0s cut-from-store n2 for 9.0s; 0.2s freeze-head n1 for 2.0s; 0.5s power-cut n1 for 0.5s',
  ],
  ['the writer freezes, and wakes up when it was taken over', '0.0s freeze-node n1 for 9.0s'],
  [
    'disks fail',
    `0.0s slow-disk n3 for 1.5s; 0.5s full-pool n2 for 2.0s; 2.0s hanging-disk n4 for 1.0s;
     3.0s unreadable-disk n3 for 1.0s; 4.0s disk-errors n2 for 1.0s`,
  ],
  [
    'power is lost, with what disks had not flushed',
    '0.0s power-cut n1 for 1.5s; 4.5s power-cut-two n2+n3 for 1.0s; 10.0s hand-over writer for 0.5s',
  ],
  [
    'etcd is restored from a snapshot of before a take-over',
    '0.0s restore-etcd store for 6.0s; 0.5s power-cut n1 for 3.0s',
  ],
  ['power is lost everywhere at once', '0.5s power-cut-all all for 0.5s'],
];

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.create();
});

afterAll(() => stage.destroy());

test.each(schedules)('%s', async (_name, text) => {
  const schedule = parseSchedule(text);
  const outcome = await runSchedule(stage, schedule, 1);
  const { violations, missed, operations, verifiedRuns } = outcome;
  if (violations.length > 0) console.error(keepEvidence(stage, 1, schedule, outcome));
  expect(violations).toEqual([]);
  expect(missed).toEqual([]);
  // Nothing is proven by machines that did nothing.
  expect(operations).toBeGreaterThan(500);
  expect(verifiedRuns).toBeGreaterThan(0);
});

test('the schedules name every kind of fault', () => {
  const named = schedules.flatMap(([, text]) => parseSchedule(text).map(({ kind }) => kind));
  expect(faultKinds.map(({ kind }) => kind).filter((kind) => !named.includes(kind))).toEqual([]);
});

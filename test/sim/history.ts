import { simTargets } from './backups.ts';
import { Checker } from './checker.ts';
import { clearAway, converge, healEverything } from './converge.ts';
import { type Core, Violation } from './core.ts';
import { FaultMaker } from './faults.ts';
import { checkFsck } from './fsck.ts';
import { LateNews } from './late-news.ts';
import { createMachines } from './machine.ts';
import { Operator, simLabels } from './operator.ts';
import { SeededRandom } from './random.ts';
import { SimScheduler } from './scheduler.ts';
import { themeOf } from './themes.ts';
import { RingTrace } from './trace.ts';
import { Trouble } from './trouble.ts';
import { User } from './workload.ts';
import { type Counts, World } from './world.ts';

export type HistoryResult = {
  seed: number;
  ok: boolean;
  /** The promise that was broken. */
  error: string | null;
  /** The last lines, when it failed or they were asked for. */
  trace: string[];
  /** A hash of all lines: equal for equal seeds. */
  hash: string;
  simulatedMs: number;
  events: number;
  counts: Counts;
};

/** What an operator does is determined by the seed, and by nothing that users and faults draw. */
const operatorSeed = 0x0d7a_1235;
const sharingSeed = 0x5a4e_0c10;
const fsckSeed = 0x0f5c_4b21;
const poolSeed = 0x1c7d_90a3;
/** In how many histories of four machines or more the last one has no pool. */
const lacking = 0.2;
/** In how many histories users make snapshots and clones. */
const sharing = 0.5;
/** Lines of a failing history that are shown. */
const shownLines = 60;

/** How much happens in a history, milliseconds from and to. */
export type Length = {
  machines: [number, number];
  users: [number, number];
  calm: [number, number];
  trouble: [number, number];
};

/** Short histories find what needs few steps, many in the time of one that is long. */
export const lengths = {
  long: { machines: [3, 5], users: [1, 2], calm: [2_000, 6_000], trouble: [15_000, 60_000] },
  short: { machines: [3, 3], users: [1, 1], calm: [500, 2_000], trouble: [2_000, 8_000] },
} as const satisfies Record<string, Length>;
export type LengthName = keyof typeof lengths;

/** Runs one history, wholly determined by its seed and its length. */
export async function runHistory(
  seed: number,
  options: { traceLines?: number; length?: LengthName } = {},
): Promise<HistoryResult> {
  const length: Length = lengths[options.length ?? 'long'];
  Violation.first = null;
  const random = new SeededRandom(seed);
  const scheduler = new SimScheduler();
  const trace = new RingTrace(scheduler);
  const core: Core = { random, scheduler, trace };
  const checker = new Checker(core);
  const machines = createMachines(core, random.int(...length.machines));
  const last = machines[3] && machines.at(-1);
  if (last && new SeededRandom(seed ^ poolSeed).chance(lacking)) last.withoutPool = true;
  const more = new SeededRandom(seed ^ operatorSeed);
  const labels = simLabels(
    more,
    machines.map((m) => m.name),
  );
  const sharer = new SeededRandom(seed ^ sharingSeed);
  const shares = sharer.chance(sharing);
  const targets = simTargets(sharer, machines);
  const world = new World(core, machines, checker, labels, targets);
  world.theme = themeOf(seed);
  world.shares = shares || world.theme !== null;
  let over = false;
  play(world, length, new Operator(world, more), new SeededRandom(seed ^ fsckSeed)).then(
    () => {
      over = true;
    },
    (error: unknown) => {
      over = true;
      if (!(error instanceof Violation)) new Violation(`the history failed: ${String(error)}`);
    },
  );
  const broken = await scheduler.run(() => over);
  const lines = options.traceLines ?? (broken === null ? 0 : shownLines);
  const checked = Object.entries(checker.counts).map(([what, n]) => [`checked ${what}`, n]);
  return {
    seed,
    ok: broken === null,
    error: broken === null ? null : (broken.stack ?? broken.message),
    trace: trace.last(lines),
    hash: trace.hash(),
    simulatedMs: scheduler.now(),
    events: scheduler.events(),
    counts: { ...world.counts, ...Object.fromEntries(checked) },
  };
}

/** A time with users and faults, and then a time in which everything must come into order. */
async function play(
  world: World,
  length: Length,
  operator: Operator,
  fsckChance: SeededRandom,
): Promise<void> {
  const { random, scheduler } = world.core;
  const users: User[] = [];
  const lives: Promise<void>[] = [];
  let resting = false;
  const add = (user: User) => {
    users.push(user);
    world.guests.push(user);
    if (!resting) lives.push(user.live());
  };
  world.start();
  const faults = new FaultMaker(world);
  // A group is of several.
  const count = random.int(...length.users) + (world.theme === 'groups' ? 1 : 0);
  for (let i = 1; i <= count; i += 1) add(new User(world, `v${i}`));
  world.onClone = (name, id) => add(new User(world, name, id));
  await scheduler.sleep(random.int(...length.calm));
  const trouble = new Trouble(world);
  const news = new LateNews(world);
  const faulty = Promise.all([
    trouble.alone ? null : faults.live(),
    trouble.live(),
    operator.live(),
    news.live(),
  ]);
  await scheduler.sleep(random.int(...length.trouble));
  faults.stop();
  trouble.stop();
  news.stop();
  operator.rest();
  resting = true;
  for (const user of users) user.rest();
  healEverything(world);
  await faulty;
  await Promise.all(lives);
  await operator.tidy();
  await converge(world, users);
  for (const { consumer } of users) consumer?.vanish();
  world.checker.final(world.volumes(), world.names);
  await checkFsck(world, fsckChance);
  if (!world.shares) return;
  await clearAway(world);
  world.checker.final(world.volumes(), world.names);
}

import { beforeEach, expect, test } from 'vitest';
import type { HeadSpec } from '../../src/engine/engine.ts';
import { policyLimits } from '../../src/volume/limits.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import { Checker } from './checker.ts';
import { type Core, type Machine, Violation } from './core.ts';
import { blockBytes } from './disk.ts';
import { NbdClient } from './engine-client.ts';
import type { BlockReply } from './engine-connection.ts';
import { SimProcess } from './engine-process.ts';
import { createMachines } from './machine.ts';
import { SimNetwork } from './network.ts';
import { createProcesses, type Processes } from './processes.ts';
import { SeededRandom } from './random.ts';
import { SimScheduler } from './scheduler.ts';

const volume = '0'.repeat(32);
const key = { volume, layer: 'a'.repeat(32), epoch: 1 };
const session = 's1';

let core: Core;
let scheduler: SimScheduler;
let network: SimNetwork;
let processes: Processes;
let here: Machine;
let there: Machine;

beforeEach(() => {
  Violation.first = null;
  scheduler = new SimScheduler();
  core = { random: new SeededRandom(7), scheduler, trace: { note: () => undefined } };
  const machines = createMachines(core, 2);
  [here, there] = machines as [Machine, Machine];
  network = new SimNetwork(core.random, scheduler);
  processes = createProcesses(core, network, machines, new Checker(core));
});

/** Lets simulated time pass until a promise is settled. */
async function settled<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
  let outcome: { value: T } | { error: unknown } | null = null;
  promise.then(
    (value) => {
      outcome = { value };
    },
    (error: unknown) => {
      outcome = { error };
    },
  );
  const until = scheduler.now() + withinMs;
  let late = false;
  scheduler.after(withinMs, () => {
    late = true;
  });
  await scheduler.run(() => outcome !== null || late);
  if (outcome === null) throw new Error(`not settled at ${until}`);
  const done = outcome as { value: T } | { error: unknown };
  if ('error' in done) throw done.error;
  return done.value;
}

const sizeBytes = 2 * blockBytes;

/** A head on the first machine whose open layer has a member on the second. */
async function serve() {
  const mine = processes.daemon(here).engine;
  const other = processes.daemon(there).engine;
  await settled(mine.layers.create(key, sizeBytes));
  await settled(other.layers.create(key, sizeBytes));
  await settled(other.replicas.start());
  await settled(other.replicas.export(key, true));
  const prepared = await settled(mine.prepareHead(volume));
  const peer = { node: there.name, boot: 'x', address: there.address, port: 1 };
  const spec: HeadSpec = {
    volume,
    sizeBytes,
    limits: policyLimits(policyNamed('Gold')),
    sealed: [],
    open: { layer: key, local: true, peers: [peer] },
    sessions: [session],
  };
  return { mine, other, head: await settled(prepared.serve(spec)) };
}

function guest(): (value: number) => Promise<BlockReply> {
  const process = new SimProcess(core, here, 'guest');
  const client = new NbdClient(process, processes.host(here).localDial(process, volume, session));
  return (value) =>
    new Promise((resolve) => client.request({ kind: 'write', block: 0, value }, resolve));
}

const held = (machine: Machine) => processes.disk(machine).copies.get(key.layer)?.cached[0];

test('a write is answered when every member has it', async () => {
  await serve();
  expect(await settled(guest()(5))).toEqual({ ok: true, value: 0 });
  expect([held(here), held(there)]).toEqual([5, 5]);
});

test('a write waits for a member that cannot be reached, and is then done there', async () => {
  await serve();
  const write = guest();
  network.cut(here.name, there.name);
  const answer = write(6);
  await expect(settled(answer, 20_000)).rejects.toThrow('not settled');
  network.heal(here.name, there.name);
  expect(await settled(answer)).toEqual({ ok: true, value: 0 });
  expect(held(there)).toBe(6);
});

test('an export that was removed takes no more writes, and the head waits', async () => {
  const { other } = await serve();
  await settled(other.replicas.unexport(key.layer, 2_000));
  await expect(settled(guest()(7), 20_000)).rejects.toThrow('not settled');
  expect(held(there)).toBe(0);
});

test('the daemon is told of a member that answers an error', async () => {
  const { head } = await serve();
  const faults: unknown[] = [];
  head.onFault((fault) => faults.push(fault));
  processes.disk(there).failWrites(1);
  expect(await settled(guest()(8))).toEqual({ ok: false, error: 'EIO' });
  expect(faults).toEqual([{ kind: 'member-error', node: there.name, error: 'EIO' }]);
});

test('a head lives on without its daemon, and the next one finds it', async () => {
  const { mine } = await serve();
  const pending = mine.layers.fence(volume);
  processes.daemonGone(here);
  await expect(settled(pending, 5_000)).rejects.toThrow('not settled');
  expect(await settled(guest()(9))).toEqual({ ok: true, value: 0 });
  const { heads } = await settled(processes.daemon(here).engine.adopt());
  expect(heads.map((h) => h.state.sessions)).toEqual([[session]]);
});

test('a power cut ends every process and keeps what was flushed', async () => {
  const { mine } = await serve();
  await settled(guest()(10));
  await settled(mine.layers.sync(key));
  await settled(mine.layers.setFence(volume, 3));
  processes.powerCut(here);
  processes.boot(here);
  expect(processes.heads()).toEqual([]);
  const { layers } = processes.daemon(here).engine;
  expect(held(here)).toBe(10);
  expect(await settled(layers.fence(volume))).toBe(3);
});

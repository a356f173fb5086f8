import type { GroupStep, PeerService } from '../api/service.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { writerOf } from '../volume/queries.ts';
import { addSnapshot, findSnapshot, removeSnapshot } from '../volume/snapshots.ts';
import type { NodeName, Snapshot, Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { withDeadline } from './deadline.ts';
import { GroupSeal, longestHoldMs, type NewSnapshot } from './group-seal.ts';

/** A node has this long for a step; a hold ends by itself anyway. */
const readyTimeoutMs = 12_000;
const stepTimeoutMs = 5_000;
/** All of it takes less than this, whether or not the one who asked is heard of again. */
const rollTimeoutMs = 2 * readyTimeoutMs;

/** `heldMs`: how long writes were held at most, milliseconds. */
export type GroupSnapshot = { volumes: Volume[]; snapshots: Snapshot[]; heldMs: number };

/**
 * Keeps what several volumes hold at one instant: whatever was acknowledged before it by any of them
 * is in its snapshot, and nothing is that was written after it.
 * @throws `conflict` when it cannot be done at one instant, e.g. while an epoch is being begun; then
 *   none of the snapshots stays. What `addSnapshot` throws.
 */
export async function snapshotGroup(
  agent: Agent,
  here: PeerService,
  ids: readonly VolumeId[],
  wanted: { name: string; group: string },
): Promise<GroupSnapshot> {
  const { environment, store } = agent.context;
  const parts = await Promise.all(
    ids.map(async (id) => {
      const record = await store.readVolume(id);
      if (record === undefined) throw new HyperscaleError('not-found', `volume ${id} is gone`);
      const snapshot: NewSnapshot = {
        id: environment.randomId(),
        name: wanted.name,
        createdAt: environment.now(),
        group: wanted.group,
      };
      // What cannot be is told before anything is held for it.
      addSnapshot(record.value, snapshot);
      const writer = record.value.tail.phase === 'open' ? writerOf(record.value) : null;
      return { id, snapshot, writer };
    }),
  );
  const open = parts.flatMap(({ id, snapshot, writer }) => {
    const request = { volume: id, group: wanted.group, snapshot };
    return writer === null ? [] : [{ id, ask: asking(agent, here, writer, request) }];
  });
  let kept = false;
  let heldMs = 0;
  try {
    await all(open.map(({ ask }) => ask('ready')));
    const from = environment.monotonic();
    await all(open.map(({ ask }) => ask('hold')));
    // Now the writes of all of them are held, or it ends with a conflict.
    const idle = parts.filter(({ writer }) => writer === null);
    await all(idle.map(({ id, snapshot }) => keepIdle(agent, id, snapshot)));
    const answers = await all(open.map(({ ask }) => ask('keep')));
    heldMs = Math.round(environment.monotonic() - from);
    kept = answers.every((answer) => answer.kept);
  } finally {
    if (!kept) await undo(agent, parts, open);
  }
  if (!kept) {
    throw new HyperscaleError(
      'conflict',
      `the writes of ${ids.length} volumes could not be held together within ${longestHoldMs} ms`,
      { hint: 'Nothing was kept. Try again, or with fewer volumes.' },
    );
  }
  const volumes = await Promise.all(
    parts.map(async ({ id }) => {
      const record = await store.readVolume(id);
      if (record === undefined) throw new HyperscaleError('not-found', `volume ${id} is gone`);
      return record.value;
    }),
  );
  const snapshots = volumes.map((v, i) => findSnapshot(v, parts[i]?.snapshot.id ?? ''));
  return { volumes, snapshots, heldMs };
}

type Part = { id: VolumeId; snapshot: NewSnapshot; writer: NodeName | null };
type Ask = (step: GroupStep) => Promise<{ kept: boolean }>;

function asking(
  agent: Agent,
  here: PeerService,
  writer: NodeName,
  request: Omit<Parameters<PeerService['groupSeal']>[0], 'step'>,
): Ask {
  const { self, peers } = agent.context;
  return (step) => {
    if (writer === self.node) return here.groupSeal({ ...request, step });
    const timeoutMs = step === 'ready' ? readyTimeoutMs : stepTimeoutMs;
    return peers.of(writer, { timeoutMs }).groupSeal({ ...request, step });
  };
}

/** Nobody writes it: what is sealed is what it holds. */
async function keepIdle(agent: Agent, id: VolumeId, snapshot: NewSnapshot): Promise<void> {
  await agent.worker(id).change((volume) => {
    if (volume.tail.phase === 'idle') return addSnapshot(volume, snapshot);
    throw new HyperscaleError('conflict', `volume ${volume.name} is being opened`, {
      hint: 'Try again.',
    });
  });
}

/** Lets all writes go on, and forgets what was kept of some. */
async function undo(
  agent: Agent,
  parts: readonly Part[],
  open: readonly { id: VolumeId; ask: Ask }[],
): Promise<void> {
  await Promise.allSettled(open.map(({ ask }) => ask('drop')));
  const removed = await Promise.allSettled(
    parts.map(({ id, snapshot }) => agent.worker(id).change((v) => removeSnapshot(v, snapshot.id))),
  );
  for (const result of removed) {
    if (result.status === 'fulfilled') continue;
    agent.context.log.warn({ error: errorText(result.reason) }, 'part of a group snapshot is left');
  }
}

/** As `Promise.all`, but when one fails the others are over too. */
async function all<T>(work: Promise<T>[]): Promise<T[]> {
  const done = await Promise.allSettled(work);
  return done.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** The seals of groups on this node, which is the writer of their volumes. */
export class GroupSeals {
  readonly #agent: Agent;
  readonly #seals = new Map<VolumeId, GroupSeal>();

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /** @see PeerService.groupSeal */
  async step(request: Parameters<PeerService['groupSeal']>[0]): Promise<{ kept: boolean }> {
    const { volume, group, snapshot, step } = request;
    if (step === 'ready') {
      await this.#begin(volume, new GroupSeal(group, snapshot, this.#agent.context.environment));
      return { kept: false };
    }
    const seal = this.#seals.get(volume);
    if (seal?.group !== group) {
      if (step === 'drop') return { kept: false };
      throw new HyperscaleError('conflict', `volume ${volume} is not being sealed for ${group}`);
    }
    if (step === 'hold') {
      await seal.hold();
      return { kept: false };
    }
    return { kept: await seal.finish(step === 'keep').catch(() => false) };
  }

  async #begin(volume: VolumeId, seal: GroupSeal): Promise<void> {
    if (this.#seals.has(volume)) {
      throw new HyperscaleError('conflict', `volume ${volume} is being sealed for another group`, {
        hint: 'Try again.',
      });
    }
    this.#seals.set(volume, seal);
    const over = () => {
      if (this.#seals.get(volume) === seal) this.#seals.delete(volume);
    };
    const { environment } = this.#agent.context;
    const worker = this.#agent.worker(volume);
    withDeadline(environment, rollTimeoutMs, (signal) =>
      worker.roll({ reason: 'seal', group: seal }, signal),
    )
      .then(() => seal.done(false))
      .catch((error: unknown) => seal.fail(error))
      .finally(over);
    await seal.untilReady();
  }
}

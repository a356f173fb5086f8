import type { HeadSpec, PreparedHead } from '../engine/engine.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { limitsOf } from '../volume/limits.ts';
import { knownLayers } from '../volume/queries.ts';
import { confirmOpen } from '../volume/roll.ts';
import { addSnapshot } from '../volume/snapshots.ts';
import type { RollReason, UnsealedLayer, Volume } from '../volume/types.ts';
import { leaseGoodMs } from '../watchdog/freshness.ts';
import type { GroupSeal, NewSnapshot } from './group-seal.ts';
import { layerKey } from './layer-key.ts';
import { exportOf, findSources } from './layer-sources.ts';
import { makeLayer } from './make-layer.ts';
import { prepare } from './prepare-roll.ts';
import { Stopwatch } from './stopwatch.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** A peer that has not prepared its layer by then is left out. */
const prepareTimeoutMs = 2_000;
/** A layer of a new size is not kept ready; meanwhile the old head serves. */
const prepareLargerTimeoutMs = 5_000;
/** A planned change of epoch waits this long for the old head to end in good order. */
const gracefulTimeoutMs = 1_500;
/** Rolls that nothing is wrong behind: the old head is asked before it is killed. */
const planned: ReadonlySet<RollReason> = new Set([
  'add-member',
  'localise',
  'seal',
  'extend',
  'merged',
  'no-space',
  'drain',
  'spread',
  'damaged',
  'retype',
]);

/**
 * The act and the confirm of a roll on this node: every member has the next layer, the old head is
 * dead and its layer fsynced here, the record says so, and only then the new head serves.
 * @param group what it is part of: it waits for the others.
 */
export async function completeRoll(worker: VolumeWorker, group?: GroupSeal): Promise<void> {
  const { context, volume } = worker;
  const { engine, self } = context;
  const tail = volume?.tail;
  if (volume === undefined || tail?.phase !== 'opening') return;
  const { next, closing, reason } = tail;
  if (!(await prepareMembers(worker, volume, next))) {
    await prepare(worker, closing === null ? null : 'member-unready');
    return;
  }
  // Before anything is ended: without a source for every sealed layer no new head could start.
  const expected = await headSpec(worker, confirmOpen(volume, next.id, self, []), next);
  const listener = worker.head === null ? 'waiting' : 'new';
  const prepared = await engine.prepareHead(worker.id, listener, expected);
  const pause = new Stopwatch(context.environment.monotonic);
  try {
    await group?.ready();
    const clean = await endOldHead(worker, closing, planned.has(reason));
    pause.lap('endMs');
    if (closing !== null) {
      await onOwnDisk(worker, () => engine.layers.sync(layerKey(worker.id, closing)));
    }
    pause.lap('syncMs');
    const snapshot = (await group?.held()) === true ? group?.snapshot : undefined;
    let kept = false;
    const confirmed = await worker.change((v) => {
      const opened = confirmOpen(v, next.id, self, clean);
      const made = snapshot && snapshotted(opened, snapshot);
      kept = made !== undefined;
      return made ?? opened;
    });
    group?.done(kept);
    pause.lap('recordMs');
    context.events.emit('epoch.opened', describe(confirmed, next, reason), {
      volume: worker.id,
      values: { epoch: next.epoch, members: next.members.map((m) => m.node), reason },
    });
    await serve(worker, prepared, confirmed);
    pause.lap('startMs');
    context.log.info({ volume: worker.id, epoch: next.epoch, reason, ...pause.laps }, 'rolled');
  } catch (error) {
    await prepared.abandon();
    throw error;
  }
}

/** Undefined when it cannot be kept any more; then the epoch is opened without it. */
function snapshotted(volume: Volume, snapshot: NewSnapshot): Volume | undefined {
  try {
    return addSnapshot(volume, snapshot);
  } catch {
    return undefined;
  }
}

/** The epoch was confirmed but its head never started (the daemon died in between). */
export async function startConfirmedHead(worker: VolumeWorker): Promise<void> {
  const { volume } = worker;
  if (volume === undefined) return;
  const prepared = await worker.context.engine.prepareHead(worker.id, 'waiting');
  try {
    await serve(worker, prepared, volume);
  } catch (error) {
    await prepared.abandon();
    throw error;
  }
}

/** Notes when it fails: then another member goes on sooner or later. */
async function onOwnDisk(worker: VolumeWorker, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    worker.ownDiskFailed();
    throw error;
  }
}

/** Every member makes and exports its container. False when one cannot: it is avoided then. */
async function prepareMembers(
  worker: VolumeWorker,
  volume: Volume,
  next: UnsealedLayer,
): Promise<boolean> {
  const { engine, peers, self, log, events } = worker.context;
  const key = layerKey(worker.id, next);
  const grows = next.sizeBytes > volume.sizeBytes;
  const timeoutMs = grows ? prepareLargerTimeoutMs : prepareTimeoutMs;
  const tasks = next.members.map(async ({ node, pool, boot }) => {
    if (node === self.node) {
      await onOwnDisk(worker, () => makeLayer(worker, key, next.sizeBytes));
      const { volume: now } = worker;
      if (now?.tail.phase === 'opening' && now.tail.next.id === next.id) return true;
      // The record has dropped it meanwhile, and its deletion may be done already; or a confirm
      // whose answer was lost has opened it, and then the file is the member's.
      const known = now === undefined ? [] : knownLayers({ ...now, garbage: [] });
      if (!known.some((layer) => layer.id === next.id)) await engine.layers.remove(key);
      throw new HyperscaleError('conflict', `layer ${next.id} is not being opened any more`);
    }
    try {
      const answer = await peers
        .of(node, { timeoutMs })
        .prepareLayer({ ...key, sizeBytes: next.sizeBytes });
      return answer.pool === pool && answer.boot === boot;
    } catch (error) {
      log.warn({ volume: worker.id, node, error: errorText(error) }, 'member cannot prepare');
      events.emit(
        'member.unready',
        `${node} cannot take part in ${volume.name}: ${errorText(error)}`,
        {
          volume: worker.id,
        },
      );
      return false;
    }
  });
  const ready = await Promise.all(tasks);
  next.members.forEach(({ node }, i) => {
    if (ready[i] !== true) worker.avoid(node);
  });
  return ready.every(Boolean);
}

/** Ends the old head. @returns the members known to hold the same as this node. */
async function endOldHead(
  worker: VolumeWorker,
  closing: UnsealedLayer | null,
  ask: boolean,
): Promise<string[]> {
  if (closing === null) return [];
  const graceful = await worker.endHead(ask ? gracefulTimeoutMs : 0);
  return graceful ? closing.members.map((m) => m.node) : [];
}

/** Starts the head of the open layer, unless a fence forbids it (rule 3). */
async function serve(worker: VolumeWorker, prepared: PreparedHead, volume: Volume): Promise<void> {
  const { engine } = worker.context;
  const { tail } = volume;
  if (tail.phase !== 'open') return;
  const open = tail.layer;
  const spec = await headSpec(worker, volume, open);
  await worker.gate.run(async () => {
    if ((await engine.layers.fence(worker.id)) > open.epoch) {
      throw new HyperscaleError('conflict', `epoch ${open.epoch} of ${volume.name} is fenced here`);
    }
    assertNewest(worker, volume, open);
    const { proxy } = worker;
    worker.setProxy(null);
    await proxy?.handle.kill();
    if (!(await engine.layers.burn(layerKey(worker.id, open)))) {
      throw new HyperscaleError('conflict', `layer ${open.epoch} was opened by a head before`);
    }
    worker.startingHead = true;
    try {
      worker.setHead(await prepared.serve(spec));
    } catch (error) {
      worker.headLivedFor(0);
      throw error;
    } finally {
      worker.startingHead = false;
    }
  });
}

/**
 * Rule 14: between the confirm and here this node may have stood still, and another may have taken
 * the volume over. That needs this node's lease to be gone, or a fence on this node.
 */
function assertNewest(worker: VolumeWorker, volume: Volume, open: UnsealedLayer): void {
  const { environment, store } = worker.context;
  if (open.members.length === 1) return;
  if (environment.monotonic() - store.leaseConfirmedAt() < leaseGoodMs) return;
  const text = `the head of ${volume.name} is started when the store has confirmed this node's lease`;
  throw new HyperscaleError('store-unavailable', text);
}

async function headSpec(
  worker: VolumeWorker,
  volume: Volume,
  open: UnsealedLayer,
): Promise<HeadSpec> {
  const { self } = worker.context;
  return {
    volume: volume.id,
    sizeBytes: open.sizeBytes,
    limits: limitsOf(volume),
    sealed: await findSources(worker, volume),
    open: {
      layer: layerKey(volume.id, open),
      local: true,
      peers: open.members.filter((m) => m.node !== self.node).map((m) => exportOf(worker, m.node)),
    },
    sessions: volume.attachments.map((a) => a.session),
    ...(volume.view === undefined ? {} : { readOnly: true as const }),
  };
}

function describe(volume: Volume, next: UnsealedLayer, reason: RollReason): string {
  const members = next.members.map((m) => m.node).join(', ');
  return `Volume ${volume.name} writes epoch ${next.epoch} to ${members} (${reason}).`;
}

import type { CopyCheck, PeerService } from '../api/service.ts';
import {
  type Asked,
  isDamaged,
  type Verification,
  type VerifiedLayer,
  verifiedLayer,
} from '../cluster/verify.ts';
import { verification } from '../cluster/verify-findings.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { markClean } from '../volume/copies.ts';
import { soundReplicas, unobtainable } from '../volume/damage.ts';
import { cleanReplicas, replicaOn, sealedLayer, unsealedLayer } from '../volume/queries.ts';
import type { Replica, SealedLayer, Volume } from '../volume/types.ts';
import type { Context } from './context.ts';
import { recordedManifest } from './verify-copy.ts';
import { damageFound } from './verify-damage.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** The longest that one copy may take to be read; a node that goes down is not waited for. */
const copyTimeoutMs = 7 * 86_400_000;

type Own = Pick<PeerService, 'verifyLayer'>;

/**
 * Has every holder read its copies of the sealed layers anew, and compares them with the record.
 * With `repair` what is damaged is recorded, and mended by the nodes in the background as they do
 * anyway; this waits for it and looks again. An abort stops the reading on all nodes; a repair that
 * was begun goes on.
 */
export async function verifyVolume(
  worker: VolumeWorker,
  own: Own,
  repair: boolean,
  signal: AbortSignal,
): Promise<Verification> {
  const volume = theVolume(worker);
  let layers: VerifiedLayer[] = [];
  for (const [index, layer] of volume.chain.entries()) {
    layers.push(await verifyLayer(worker, own, layer, index + 1, signal));
  }
  if (repair) layers = await repaired(worker, own, layers, signal);
  return verification(theVolume(worker), [...layers, ...openLayer(volume)]);
}

/** Every sealed layer has its checksums recorded: until then there is nothing to compare with. */
export async function checksumsRecorded(
  worker: VolumeWorker,
  sealed: Volume,
  signal: AbortSignal,
): Promise<void> {
  await worker.waitUntil(() => {
    const { epoch, chain } = theVolume(worker);
    return epoch >= sealed.epoch && chain.every((l) => l.manifest !== null);
  }, signal);
}

function theVolume(worker: VolumeWorker): Volume {
  const { volume } = worker;
  if (volume !== undefined && volume.tail.phase !== 'deleting') return volume;
  throw new HyperscaleError('not-found', `volume ${volume?.name ?? worker.id} is deleted`);
}

function openLayer(volume: Volume): VerifiedLayer[] {
  const layer = unsealedLayer(volume);
  if (layer === null) return [];
  const { id, epoch, members } = layer;
  const copies = members.map(({ node }) => ({
    node,
    recorded: 'open' as const,
    result: 'open' as const,
    damaged: [],
    why: 'it is being written',
    repaired: false,
  }));
  const number = volume.chain.length + 1;
  return [{ number, id, epoch, state: 'open', against: 'nothing', copies }];
}

async function verifyLayer(
  worker: VolumeWorker,
  own: Own,
  layer: SealedLayer,
  number: number,
  signal: AbortSignal,
): Promise<VerifiedLayer> {
  const asked = await Promise.all(
    layer.replicas.map((replica) => askHolder(worker, own, layer, replica, signal)),
  );
  const differs = asked.some(
    (a) => 'check' in a && a.check.state === 'read' && a.check.chunks !== null,
  );
  const wanted =
    differs && layer.manifest !== null ? await recordedManifest(worker, layer, signal) : null;
  return verifiedLayer(layer, number, asked, wanted);
}

async function askHolder(
  worker: VolumeWorker,
  own: Own,
  layer: SealedLayer,
  { node, pool }: Replica,
  signal: AbortSignal,
): Promise<Asked> {
  const { context, id } = worker;
  const { self, peers } = context;
  const request = { volume: id, layer: layer.id, epoch: layer.epoch, root: layer.manifest };
  const lease = context.nodes().find((n) => n.name === node)?.lease;
  if (lease == null) return { node, failed: 'node-down', why: `${node} is down` };
  if (lease.pool !== pool) {
    return { node, failed: 'not-checked', why: `${node} came back with another pool` };
  }
  try {
    const check = await whileAlive<CopyCheck>(context, node, signal, (until) =>
      node === self.node
        ? own.verifyLayer(request, until)
        : peers.of(node, { timeoutMs: copyTimeoutMs }).verifyLayer(request, until),
    );
    return { node, check };
  } catch (error) {
    signal.throwIfAborted();
    const why = errorText(error);
    if (isHyperscaleError(error, 'node-down')) return { node, failed: 'node-down', why };
    const failed = isHyperscaleError(error, 'damaged') ? 'unreadable' : 'not-checked';
    return { node, failed, why };
  }
}

/** Runs a call to a node until the node's lease is gone: a dead one would never answer. */
async function whileAlive<T>(
  { store }: Context,
  node: string,
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const gone = new AbortController();
  const off = store.onChange((change) => {
    if (change.kind !== 'node' || change.name !== node || change.node?.lease != null) return;
    gone.abort(new HyperscaleError('node-down', `${node} went down while its copy was read`));
  });
  try {
    return await call(AbortSignal.any([signal, gone.signal]));
  } catch (error) {
    gone.signal.throwIfAborted();
    throw error;
  } finally {
    off();
  }
}

/** Records all damage, waits until everything is mended that can be, and looks at it again. */
async function repaired(
  worker: VolumeWorker,
  own: Own,
  layers: VerifiedLayer[],
  signal: AbortSignal,
): Promise<VerifiedLayer[]> {
  for (const layer of layers) await recordFindings(worker, layer);
  const damaged = layers.filter((layer) => layer.copies.some(isDamaged));
  const ids = new Set(damaged.map((layer) => layer.id));
  await worker.waitUntil(() => {
    const { chain } = theVolume(worker);
    return chain.every((layer) => !ids.has(layer.id) || !canBeMended(worker, layer));
  }, signal);
  return Promise.all(
    layers.map(async (layer) => {
      const now = sealedLayer(theVolume(worker), layer.id);
      if (now === undefined || !ids.has(layer.id)) return layer;
      const again = await verifyLayer(worker, own, now, layer.number, signal);
      const before = new Set(layer.copies.filter(isDamaged).map((c) => c.node));
      const copies = again.copies.map((c) => ({
        ...c,
        repaired: c.result === 'equal' && before.has(c.node),
      }));
      return { ...again, copies };
    }),
  );
}

async function recordFindings(worker: VolumeWorker, verified: VerifiedLayer): Promise<void> {
  for (const copy of verified.copies) {
    const layer = sealedLayer(theVolume(worker), verified.id);
    const replica = layer && replicaOn(layer, copy.node);
    if (layer === undefined || replica === undefined || layer.manifest === null) continue;
    if (isDamaged(copy)) {
      const { node, damaged: ranges } = copy;
      await damageFound(worker, { layer: layer.id, node, ranges, by: 'a verification' });
    } else if (
      copy.result === 'equal' &&
      replica.state === 'clean' &&
      replica.damage !== undefined
    ) {
      // What was read wrong once is right now: a cable, a controller, memory.
      await worker.change((v) => markClean(v, layer.id, replica));
    }
  }
}

/** True while a damaged copy of the layer is going to be mended by what the nodes do by themselves. */
function canBeMended({ context }: VolumeWorker, layer: SealedLayer): boolean {
  const alive = (r: Replica) => context.nodes().some((n) => n.name === r.node && n.lease !== null);
  const sources = cleanReplicas(layer).filter(alive);
  if (sources.length === 0) return false;
  const sound = soundReplicas(layer).filter(alive);
  return layer.replicas.filter(alive).some((replica) => {
    if (replica.state === 'clean') return replica.damage !== undefined && sound.length > 0;
    return unobtainable(replica, sources).length === 0;
  });
}

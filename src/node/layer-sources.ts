import type { LayerKey, LayerSource, PeerExport } from '../engine/engine.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { layersSeen } from '../volume/lineage.ts';
import { cleanReplicas, replicaOn } from '../volume/queries.ts';
import type { SealedLayer, Volume } from '../volume/types.ts';
import { layerKey } from './layer-key.ts';
import type { VolumeWorker } from './volume-worker.ts';

/** A peer that does not export a layer by then is passed over. */
const serveTimeoutMs = 2_000;

/**
 * Where each sealed layer that the volume shows is read from, its own and those of the records that
 * it was cloned from: this node's file, or one live peer that has been asked to export it.
 * @throws `unavailable` when a layer has no clean copy on a live node.
 */
export async function findSources(worker: VolumeWorker, volume: Volume): Promise<LayerSource[]> {
  const seen = layersSeen(volume, (id) => worker.context.store.volume(id)?.value);
  if (seen === null) {
    throw new HyperscaleError(
      'unavailable',
      `what volume ${volume.name} was cloned from is not known here (${volume.parent?.volume})`,
      { hint: 'Nothing to do when it was cloned just now; else: hscli cluster fsck.' },
    );
  }
  return Promise.all(
    seen.map(async ({ home, layer }) => {
      const key = layerKey(home.id, layer);
      if (replicaOn(layer, worker.context.self.node)?.state === 'clean') {
        return { layer: key, local: true, peers: [] };
      }
      if (layer.restoring !== undefined) return backupSource(worker, home, layer, key);
      const from = await serveFromPeer(worker, home, layer, key);
      return { layer: key, local: false, peers: [exportOf(worker, from)] };
    }),
  );
}

/** What is not in a copy yet is read from the backup. */
function backupSource(
  worker: VolumeWorker,
  volume: Volume,
  { restoring }: SealedLayer,
  layer: LayerKey,
): LayerSource {
  const node = restoring?.node ?? '';
  const isUp = worker.context.nodes().some((n) => n.name === node && n.lease !== null);
  if (restoring == null || restoring.port === null || !isUp) {
    throw new HyperscaleError(
      'unavailable',
      `${volume.name} is being restored on ${node}, which ${isUp ? 'is not ready to serve it' : 'is down'}`,
      { hint: 'Nothing to do if another node has the target: it takes over.' },
    );
  }
  const peer = { ...exportOf(worker, node), port: restoring.port };
  return { layer, local: false, peers: [peer], fromBackup: true };
}

async function serveFromPeer(
  worker: VolumeWorker,
  volume: Volume,
  layer: SealedLayer,
  key: LayerKey,
): Promise<string> {
  const { context, memberErrors } = worker;
  const nodes = context.nodes();
  // A peer that answered a write with an error may still be read, when no other has the layer.
  const holders = cleanReplicas(layer)
    .filter((r) => context.health.failure(r.node) === null)
    .sort((a, b) => Number(memberErrors.has(a.node)) - Number(memberErrors.has(b.node)));
  const tried: string[] = [];
  for (const { node } of holders) {
    if (nodes.find((n) => n.name === node)?.lease == null) continue;
    try {
      await context.peers.of(node, { timeoutMs: serveTimeoutMs }).serveLayer(key);
      return node;
    } catch (error) {
      tried.push(`${node}: ${errorText(error)}`);
    }
  }
  const names = cleanReplicas(layer).map((r) => r.node);
  throw new HyperscaleError(
    'unavailable',
    `layer ${layer.epoch} of ${volume.name} can be read nowhere: its clean copies are on ${names.join(', ')}${tried.length > 0 ? ` (${tried.join('; ')})` : ', which are down'}`,
    { hint: `Bring back ${names.join(' or ')}.`, values: { volume: volume.id, layer: layer.id } },
  );
}

/** The replica server of a node. */
export function exportOf(worker: VolumeWorker, node: string): PeerExport {
  const view = worker.context.nodes().find((n) => n.name === node);
  if (view === undefined) {
    throw new HyperscaleError('not-found', `node ${node} is not registered`);
  }
  return { node, boot: view.lease?.boot ?? null, address: view.address, port: view.replicaPort };
}

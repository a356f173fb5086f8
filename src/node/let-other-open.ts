import { HyperscaleError } from '../errors.ts';
import { layersSeen } from '../volume/lineage.ts';
import { placeMembers } from '../volume/placement.ts';
import { standIn, standInNode } from '../volume/stand-in.ts';
import type { NodeName, NodeView, Volume } from '../volume/types.ts';
import type { Context } from './context.ts';
import type { VolumeWorker } from './volume-worker.ts';

/**
 * Nobody serves the volume: whether this node can, or another one in its place where it has no pool, is
 * known before an attachment is promised.
 * @throws `no-space`, `not-enough-nodes`
 */
export function mayBeServed(context: Context, volume: Volume): void {
  if (context.withoutPool === true) servingNode(context, volume, new Set());
  else placeMembers(volume, context.self.node, context.nodes(), new Set());
}

/** Records that another node opens the volume in place of this one, which has no pool. */
export async function letOtherOpen(worker: VolumeWorker): Promise<void> {
  const { context, volume } = worker;
  const { environment, events, health, self } = context;
  if (volume === undefined) return;
  const avoid = worker.avoided();
  let node = servingNode(context, volume, avoid);
  while (!(await health.probe(node.name))) {
    worker.avoid(node.name);
    avoid.add(node.name);
    node = servingNode(context, volume, avoid);
  }
  const { name: host, lease } = node;
  if (lease === null) return;
  const session = environment.randomId();
  const since = environment.now();
  const changed = await worker.change((v) =>
    standIn(v, self.node, { host, session, boot: lease.boot, since }),
  );
  events.emit(
    'volume.served-elsewhere',
    `${self.node} has no pool: ${host} serves volume ${changed.name} for it.`,
    { volume: worker.id, values: { from: self.node, to: host } },
  );
}

function servingNode(context: Context, volume: Volume, avoid: ReadonlySet<NodeName>): NodeView {
  const { nodes, self, store } = context;
  const seen = layersSeen(volume, (id) => store.volume(id)?.value);
  const layers = seen?.map(({ layer }) => layer) ?? volume.chain;
  const node = standInNode(layers, nodes(), avoid);
  if (node !== undefined) return node;
  throw new HyperscaleError(
    'not-enough-nodes',
    `node ${self.node} has no pool, and no other node can serve volume ${volume.name} for it`,
    {
      hint: 'Start a node with a pool, or free space in one: hscli node list',
      values: { node: self.node, volume: volume.id },
    },
  );
}

import { type DrainReport, drainObstacles, drainReport, roomBeside } from '../cluster/drain.ts';
import { HyperscaleError } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeView, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';

/** What a node holds, and how far its drain is. @throws `not-found` */
export function drainOf(agent: Agent, name: string): DrainReport {
  return drainReport(theNode(agent, name), volumesOf(agent), agent.context.nodes());
}

/**
 * Marks a node: from now on nothing new goes there, and what is there leaves it. Again is fine.
 * @param wish.partial also when not everything can leave it.
 * @throws `not-allowed` when copies have nowhere to go and `partial` was not said.
 */
export async function beginDrain(
  agent: Agent,
  name: string,
  wish: { partial: boolean; by: string },
): Promise<DrainReport> {
  const { store, environment, log } = agent.context;
  const node = theNode(agent, name);
  if (node.drain === undefined) {
    if (!wish.partial) mustBePossible(agent, node);
    const mark = { node: name, pool: node.pool, at: environment.now(), by: wish.by };
    await store.markDrain(mark);
    log.info(mark, 'a node is drained');
  }
  return drainOf(agent, name);
}

/** Takes the mark away; what has left the node does not come back because of that. */
export async function endDrain(agent: Agent, name: string): Promise<DrainReport> {
  const { store, log } = agent.context;
  theNode(agent, name);
  await store.unmarkDrain(name);
  log.info({ node: name }, 'a drain was ended');
  return drainOf(agent, name);
}

/** @throws `not-allowed` for an attachment that a node which is being drained would have to begin. */
export function mayBeAttachedTo(
  nodes: readonly NodeView[],
  host: string,
  volume: Volume | undefined,
): void {
  const draining = nodes.some((n) => n.name === host && n.drain !== undefined);
  if (!draining || (volume !== undefined && attachmentOn(volume, host) !== undefined)) return;
  throw new HyperscaleError('not-allowed', `node ${host} is being drained`, {
    hint: `Attach on another node, or end the drain: hscli node undrain ${host}`,
    values: { node: host },
  });
}

function mustBePossible(agent: Agent, node: NodeView): void {
  const nodes = agent.context.nodes();
  const volumes = volumesOf(agent);
  const hint = `Add nodes or space. To let go what can go, and keep the rest there: hscli node drain ${node.name} --partial`;
  const obstacles = drainObstacles(node, volumes, nodes);
  if (obstacles.length > 0) {
    const shown = obstacles.slice(0, 10).map((o) => `${o.volume}: ${o.why}`);
    const more = obstacles.length - shown.length;
    const rest = more === 0 ? '' : `; and ${more} more`;
    throw new HyperscaleError(
      'not-allowed',
      `node ${node.name} cannot be emptied: ${shown.join('; ')}${rest}`,
      { hint, values: { node: node.name, obstacles: obstacles.slice(0, 100) } },
    );
  }
  const { bytes } = drainReport(node, volumes, nodes);
  const room = roomBeside(node, nodes);
  if (bytes > room) {
    throw new HyperscaleError(
      'not-allowed',
      `node ${node.name} cannot be emptied: it holds ${bytes} bytes, and the other pools have room for ${Math.floor(room)}`,
      { hint, values: { node: node.name, bytes, room } },
    );
  }
}

function theNode(agent: Agent, name: string): NodeView {
  const node = agent.context.nodes().find((n) => n.name === name);
  if (node !== undefined) return node;
  throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(name)}`, {
    hint: 'List them with: hscli node list',
    values: { node: name },
  });
}

const volumesOf = (agent: Agent): Volume[] => agent.context.store.volumes().map((v) => v.value);

import type { Removal, Removed } from '../api/operator-service.ts';
import { type RetireStep, retireStep } from '../cluster/retire.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { RetiredPool, Retirement } from '../store/retirement.ts';
import { detach } from '../volume/attach.ts';
import { takeOverEpoch } from '../volume/fence.ts';
import { unsealedLayer } from '../volume/queries.ts';
import { isNamed, retirePool, stopWaiting } from '../volume/retire.ts';
import { abandonOpening } from '../volume/roll.ts';
import type { NodeView, Volume } from '../volume/types.ts';
import { endView, viewHost } from '../volume/view.ts';
import type { Agent } from './agent.ts';
import { forceVolume } from './force.ts';

/** Members are evicted and volumes taken over within this time, or something is in the way. */
const settleTimeoutMs = 40_000;
/** A record that does not change is looked at again after this time: a node's lease may have. */
const lookAgainMs = 500;

/** What the removal of a node would mean now. @throws `not-found`, `not-allowed` when it is up */
export function removalOf(agent: Agent, name: string, retirement: Retirement): Removal {
  const node = theNode(agent, name, retirement);
  const named = volumesOf(agent).filter((v) => v.view === undefined && isNamed(v, placeOf(node)));
  const losses = named.flatMap((volume) => {
    const step = retireStep(volume, placeOf(node), agent.context.nodes());
    return step.kind === 'lossy' ? [{ volume: volume.name, why: step.why }] : [];
  });
  const volumes = named.map((v) => v.name).sort();
  return { node: name, pool: node.pool, volumes, losses };
}

/**
 * Takes a node out for good. The mark on its pool comes first, so that from then on it cannot come
 * back; then volume after volume; its registration goes last. Asked again, it goes on.
 */
export async function removeNode(
  agent: Agent,
  name: string,
  retirement: Retirement,
  decision: { acceptDataLoss: boolean; by: string },
  signal: AbortSignal,
): Promise<Removed> {
  const { environment, events, log } = agent.context;
  const { pool, losses, volumes } = removalOf(agent, name, retirement);
  if (losses.length > 0 && !decision.acceptDataLoss) {
    const list = losses.map((l) => `${l.volume} (${l.why})`).join('; ');
    throw new HyperscaleError(
      'not-allowed',
      `node ${name} holds data that is nowhere else: ${list}`,
      {
        hint: `Bring it back and let its data be copied. If it is gone for good: hscli node remove ${name} --accept-data-loss`,
        values: { node: name, losses },
      },
    );
  }
  const mark = { pool, node: name, at: environment.now(), by: decision.by };
  await retirement.retire(mark);
  log.warn(mark, 'a node is taken out of the cluster');
  const lost = await clearAll(agent, mark, decision.acceptDataLoss, signal);
  await retirement.unregister(mark);
  events.emit('node.removed', `Node ${name} was taken out of the cluster by ${decision.by}.`, {
    values: { node: name, pool, lost },
  });
  return { node: name, pool, volumes, lost };
}

function theNode(agent: Agent, name: string, retirement: Retirement): NodeView {
  const node = agent.context.nodes().find((n) => n.name === name);
  const former = retirement.retired().findLast((r) => r.node === name);
  if (node === undefined) {
    throw new HyperscaleError(
      'not-found',
      former === undefined
        ? `there is no node ${JSON.stringify(name)}`
        : `node ${name} was taken out of the cluster at ${former.at}`,
      { hint: 'List them with: hscli node list' },
    );
  }
  if (node.lease !== null) {
    throw new HyperscaleError('not-allowed', `node ${name} is up`, {
      hint: `Move its guests away, detach their volumes, stop hyperscaled on ${name} for good, and ask again when its lease has run out (5 s).`,
      values: { node: name },
    });
  }
  return node;
}

const placeOf = ({ name, pool }: NodeView) => ({ node: name, pool });
const volumesOf = (agent: Agent): Volume[] => agent.context.store.volumes().map((v) => v.value);

/** @returns names of volumes of which nothing is left to go back to */
async function clearAll(
  agent: Agent,
  gone: RetiredPool,
  acceptDataLoss: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const { environment } = agent.context;
  const deadline = environment.monotonic() + settleTimeoutMs;
  const lost = new Set<string>();
  for (;;) {
    signal.throwIfAborted();
    const waiting: string[] = [];
    for (const { id, name } of volumesOf(agent)) {
      if (lost.has(name)) continue;
      const left = await clearOne(agent, id, gone, acceptDataLoss);
      if (left === 'lost') lost.add(name);
      else if (left !== null) waiting.push(`${name}: ${left}`);
    }
    if (waiting.length === 0) return [...lost].sort();
    if (environment.monotonic() >= deadline) {
      throw new HyperscaleError(
        'unavailable',
        `node ${gone.node} cannot come back any more, but records still name it: ${waiting.join('; ')}`,
        { hint: `Ask again: hscli node remove ${gone.node}`, values: { node: gone.node, waiting } },
      );
    }
    await new Promise<void>((resolve) => environment.after(lookAgainMs, resolve));
  }
}

/** @returns null when done, `lost`, or what is waited for. */
async function clearOne(
  agent: Agent,
  id: string,
  gone: RetiredPool,
  acceptDataLoss: boolean,
): Promise<string | null> {
  const { store } = agent.context;
  const cached = store.volume(id)?.value;
  if (cached === undefined || !isNamed(cached, gone)) return null;
  if (viewHost(cached) === gone.node) {
    // Nothing in it is anybody's: nobody waits for what it has there.
    await agent.worker(id).change((v) => stopWaiting(endView(v), gone.pool));
    return null;
  }
  const volume = (await store.readVolume(id))?.value;
  if (volume === undefined) return null;
  const step = retireStep(volume, gone, agent.context.nodes());
  try {
    return await perform(agent, volume, gone, step, acceptDataLoss);
  } catch (error) {
    // It changed under our hands, or a node does not answer now: the next round sees.
    if (isHyperscaleError(error, 'conflict', 'node-down')) return error.message;
    throw error;
  }
}

async function perform(
  agent: Agent,
  volume: Volume,
  gone: RetiredPool,
  step: RetireStep,
  acceptDataLoss: boolean,
): Promise<string | null> {
  const { self } = agent.context;
  const worker = agent.worker(volume.id);
  switch (step.kind) {
    case 'done':
      return null;
    case 'strip':
      await worker.change((v) => retirePool(v, gone));
      return null;
    case 'abandon':
      await worker.change((v) => abandonOpening(v, step.layer));
      return 'it is being given up by its next holder';
    case 'take-over': {
      const writer = unsealedLayer(volume)?.writer;
      const wanted = { epoch: volume.epoch, revoke: [gone.node] };
      const leaseGone = writer === gone.node ? { leaseGone: writer } : {};
      await worker.change((v) => takeOverEpoch(v, self.node, wanted), leaseGone);
      return `${self.node} takes it over`;
    }
    case 'wait':
      return step.why;
    case 'lossy':
      if (!acceptDataLoss) return step.why;
      return acceptLossOf(agent, volume, gone);
  }
}

async function acceptLossOf(
  agent: Agent,
  volume: Volume,
  gone: RetiredPool,
): Promise<string | null> {
  try {
    await forceVolume(agent, volume.id, null, gone.by);
    return 'it goes on without what was lost';
  } catch (error) {
    if (isHyperscaleError(error, 'unavailable')) {
      // Nothing is left to go back to: the record stays, so that it is seen, until it is deleted.
      await agent.worker(volume.id).change((v) => detach(v, gone.node));
      return 'lost';
    }
    // A better copy is on a node that came back meanwhile; it is taken without loss.
    if (isHyperscaleError(error, 'not-allowed')) return error.message;
    throw error;
  }
}

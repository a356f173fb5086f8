/** The duties of `src/node/duties.ts` and the background work, carried out in the small world. */
import { coordinatorOf } from '../../../src/cluster/coordinator.ts';
import { jobsFor } from '../../../src/cluster/jobs.ts';
import { mergeStep } from '../../../src/cluster/merge.ts';
import { repairStep } from '../../../src/cluster/repair.ts';
import { type Duty, type LocalView, nextDuty } from '../../../src/node/duties.ts';
import { detach } from '../../../src/volume/attach.ts';
import { takeOverEpoch } from '../../../src/volume/fence.ts';
import { handOver } from '../../../src/volume/hand-over.ts';
import { limitsOf } from '../../../src/volume/limits.ts';
import { abandonOpening, prepareOpen, prepareRoll } from '../../../src/volume/roll.ts';
import type { World } from './world.ts';
import {
  advance,
  begin,
  closeVolume,
  completeRoll,
  perform,
  startHead,
  takeOver,
} from './world-agents.ts';
import type { Task, WorldNode } from './world-types.ts';

/** What a node sees of itself when nothing fails and all has settled. */
function localView(world: World, node: WorldNode): LocalView {
  const head = world.headOn(node.name);
  const { tail } = world.record;
  return {
    head: head
      ? {
          volume: 'v',
          layer: head.layer.id,
          epoch: head.layer.epoch,
          sizeBytes: head.layer.sizeBytes,
          pid: 1,
          sessions: head.sessions,
          sealed: head.sources.map(({ layer, from }) => ({
            layer,
            from: from === node.name ? null : from,
            fromBoot: null,
          })),
          peers: head.layer.members.slice(1).map((m) => m.node),
          limits: limitsOf(world.record),
        }
      : null,
    openLayerBurnt: tail.phase === 'open' && node.burnt.has(tail.layer.id),
    proxy: node.proxy,
    listening: null,
    gateways: [...node.gateways],
    failed: new Set(),
    avoid: new Set(),
    settled: true,
    leasesKnown: true,
  };
}

export function dutyOf(world: World, node: WorldNode): Duty | null {
  const self = world.self(node);
  const local = localView(world, node);
  return nextDuty({ volume: world.record, self, nodes: world.views(), local });
}

/** The most urgent thing that this node can do; what it was, or null when there is nothing. */
export function takeTurn(world: World, node: WorldNode): string | null {
  const duty = dutyOf(world, node);
  if (duty !== null) {
    obey(world, node, duty);
    return `${node.name}: ${JSON.stringify(duty)}`;
  }
  const nodes = world.views();
  const job = jobsFor(world.record, world.self(node), nodes)[0];
  if (job !== undefined) {
    finish(world, begin(perform(world, node, job)));
    return `${node.name}: ${JSON.stringify(job)}`;
  }
  if (coordinatorOf(world.record, nodes) !== node.name) return null;
  const step =
    repairStep(world.record, { nodes, givenUp: new Set() }) ??
    mergeStep(world.record, { nodes, newId: () => world.newId('m') });
  if (step === null) return null;
  world.change(step.apply);
  return `${node.name}: ${step.text}`;
}

function finish(world: World, task: Task | null): void {
  for (let left = task; left !== null; ) left = advance(world, left);
}

function obey(world: World, node: WorldNode, duty: Duty): void {
  const next = () => ({ id: world.newId('l'), members: world.place(node) });
  const head = world.headOn(node.name);
  switch (duty.kind) {
    case 'kill-head':
      if (head) world.kill(head);
      return;
    case 'stop-proxy':
      node.proxy = null;
      return;
    case 'stop-gateway':
      node.gateways.delete(duty.session);
      return;
    case 'stand-in':
      throw new Error('every node here has a pool');
    case 'open':
      world.change((v) => prepareOpen(v, node.name, next()));
      return;
    case 'roll':
      world.change((v) => prepareRoll(v, node.name, duty.reason, next()));
      return;
    case 'complete-roll': {
      const before = world.record;
      finish(world, begin(completeRoll(world, node, true)));
      const { tail } = before;
      if (world.record !== before || tail.phase !== 'opening') return;
      // A member could not prepare its layer: the roll is prepared anew.
      world.change((v) =>
        tail.closing === null
          ? prepareOpen(v, node.name, next())
          : prepareRoll(v, node.name, 'member-unready', next()),
      );
      return;
    }
    case 'abandon-opening':
      world.change((v) => abandonOpening(v, duty.layer));
      return;
    case 'start-head':
      finish(world, begin(startHead(world, node)));
      return;
    case 'close':
      finish(world, begin(closeVolume(world, node)));
      return;
    case 'hand-over': {
      const session = world.newId('s');
      if (head) world.kill(head);
      const { node: host, boot } = duty.to;
      world.change((v) => handOver(v, node.name, { host, session, boot, since: '' }));
      return;
    }
    case 'set-limits':
      // Nothing here counts requests.
      return;
    case 'sync-sessions':
      if (head) head.sessions = world.record.attachments.map((a) => a.session);
      return;
    case 'start-proxy':
      if (!world.headOn(duty.headNode)?.sessions.includes(duty.session)) return;
      world.node(duty.headNode).gateways.add(duty.session);
      node.proxy = { session: duty.session, headNode: duty.headNode, epoch: duty.epoch };
      return;
    case 'begin-fencing':
      world.change((v) => takeOverEpoch(v, node.name, duty));
      return;
    case 'complete-fencing':
      finish(world, begin(takeOver(world, node, true)));
      return;
    case 'drop-attachment':
      world.change((v) => detach(v, duty.host));
      return;
  }
}

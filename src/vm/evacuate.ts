/**
 * Starts the guests of a dead node elsewhere. For each guest: claim its record for a live node by
 * compare-and-swap, in one transaction with the absence of the dead node's lease; then that node
 * revokes the old attachments, attaches the volumes, which fences the old writer, and starts it. Only
 * the node that the record names starts a guest, so two operators cannot start it twice; what was
 * interrupted goes on when it is asked for again.
 */
import pLimit from 'p-limit';
import { errorText, HyperscaleError } from '../errors.ts';
import type { NodeName } from '../volume/types.ts';
import { changeVm, isUp, liveNode, type MoveContext } from './move-context.ts';
import type { Evacuated, EvacuatedVm } from './moves.ts';
import { concerned, leastLoaded, onItsWay } from './place.ts';
import { claimed, moved, type VmRecord, type VmState } from './record.ts';

/** Each may take over several volumes. */
const vmsAtATime = 4;
const askTimeoutMs = 5_000;
const takeInTimeoutMs = 180_000;

type Wishes = { to: NodeName | null; vm: string | null };

export async function evacuate(
  context: MoveContext,
  node: NodeName,
  { to, vm }: Wishes,
  signal: AbortSignal,
): Promise<Evacuated> {
  const all = (await context.records.list()).map(({ value }) => value);
  const there = concerned(all, node);
  const wanted = vm === null ? there : there.filter((r) => r.name === vm || r.uuid === vm);
  refuseLive(context, node, wanted);
  if (vm !== null && wanted.length === 0) throw notThere(node, vm);
  if (to === node) throw new HyperscaleError('bad-input', `${to} is the node to be evacuated`);
  const targets = wanted.length === 0 ? [] : await canRun(context, node, to, signal);
  const limit = pLimit(vmsAtATime);
  const vms = await Promise.all(
    wanted.map((record) =>
      limit(async (): Promise<EvacuatedVm> => {
        const { uuid, name } = record;
        let target: NodeName | null = null;
        try {
          signal.throwIfAborted();
          target = await claim(context, record, () => leastLoaded(targets, all));
          // The others are to be spread over what is left.
          all.splice(all.indexOf(record), 1, { ...record, node: target });
          const far = context.far(target, { timeoutMs: takeInTimeoutMs, signal });
          const { outcome } = await far.takeIn(uuid, signal);
          return { uuid, name, to: target, outcome, reason: null };
        } catch (error) {
          const reason = errorText(error);
          context.log.warn({ vm: uuid, node, error: reason }, 'a guest is not evacuated');
          return { uuid, name, to: target, outcome: 'failed', reason };
        }
      }),
    ),
  );
  return { node, vms };
}

/** What has its node's lease may be alive and well: nothing of it is started a second time. */
function refuseLive(context: MoveContext, node: NodeName, wanted: readonly VmRecord[]): void {
  const view = context.node(node);
  if (view === undefined && wanted.length === 0) {
    throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(node)}`, {
      hint: 'List them with: hscli node list',
    });
  }
  const isUpNow = view !== undefined && view.lease !== null;
  // What was claimed before it came back still has to be started.
  if (isUpNow && (wanted.length === 0 || wanted.some((r) => !onItsWay(r, node)))) {
    throw new HyperscaleError('not-allowed', `node ${node} is up`, {
      hint: `Migrate its guests: hscli vm migrate VM --live --to NODE. When it is to be given up, switch its power off, or stop hyperscaled on it: 5 to 10 seconds later it counts as down, and its guests are fenced from their volumes when they are evacuated.`,
      values: { node },
    });
  }
  if (!isUpNow && !context.leasesKnown()) {
    throw new HyperscaleError('unavailable', `it is not known yet whether ${node} is up`, {
      hint: 'The store has come back a moment ago; try again in ten seconds.',
    });
  }
}

function notThere(node: NodeName, vm: string): HyperscaleError {
  return new HyperscaleError('not-found', `${JSON.stringify(vm)} is no guest of ${node}`, {
    hint: 'hscli vm list --cluster shows the guests of all nodes.',
  });
}

/** Live nodes whose libvirt answers. */
async function canRun(
  context: MoveContext,
  dead: NodeName,
  to: NodeName | null,
  signal: AbortSignal,
): Promise<NodeName[]> {
  const ask = (name: NodeName) => context.far(name, { timeoutMs: askTimeoutMs, signal }).canRun();
  if (to !== null) {
    liveNode(context, to);
    await ask(to);
    return [to];
  }
  // A node that is being drained takes guests only when told to by name.
  const live = context
    .nodes()
    .filter((n) => n.lease !== null && n.drain === undefined && n.name !== dead);
  const answers = await Promise.all(
    live.map(async ({ name }) =>
      ask(name).then(
        () => [name],
        () => [],
      ),
    ),
  );
  return answers.flat();
}

/** @returns the node that shall start it: one that has it already, or the chosen one. */
async function claim(
  context: MoveContext,
  record: VmRecord,
  choose: () => NodeName,
): Promise<NodeName> {
  const { events, environment } = context;
  const arrivedAlready = await afterMigration(context, record);
  if (arrivedAlready !== null) return arrivedAlready;
  const isClaimed = (r: VmState) =>
    r.evacuation !== null && r.evacuation.failed === null && isUp(context, r.node);
  if (isClaimed(record)) return record.node;
  const target = choose();
  const dead = record.node;
  // A node that failed to start it has cleaned up, and may be up.
  const options = record.evacuation?.failed == null ? { leaseGone: dead } : {};
  const since = environment.now();
  const step = (r: VmRecord) => {
    if (r.node === dead && !isClaimed(r)) return claimed(r, target, since);
    if (r.evacuation !== null) return null;
    throw new HyperscaleError('conflict', `${r.name} belongs to ${r.node} by now`);
  };
  const done = await changeVm(context, record.uuid, step, options).catch((error: unknown) => {
    throw isUp(context, dead) ? new HyperscaleError('not-allowed', `${dead} is up again`) : error;
  });
  if (done === undefined) {
    throw new HyperscaleError('not-found', `${record.name} is not recorded any more`);
  }
  const text = `${record.name} is evacuated from ${dead} to ${done.value.node}.`;
  events.emit('vm.evacuating', text, { values: { vm: record.uuid } });
  return done.value.node;
}

/** It may have been on its way when the node died, and run at the other end. */
async function afterMigration(context: MoveContext, record: VmRecord): Promise<NodeName | null> {
  const to = record.migration?.to;
  if (to === undefined || to === record.node || !isUp(context, to)) return null;
  const { presence } = await context.far(to, { timeoutMs: askTimeoutMs }).presence(record.uuid);
  if (presence !== 'active') return null;
  const now = await changeVm(context, record.uuid, (r) => (r.migration === null ? null : moved(r)));
  return now?.value.node ?? null;
}

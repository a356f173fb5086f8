/**
 * What this node has to do next for one volume, from its record, the nodes, and what runs here.
 * Pure: the worker executes the answer and asks again.
 */
import type { HeadState } from '../engine/engine.ts';
import { damagedButRead, soundReplicas } from '../volume/damage.ts';
import { sharedRacks } from '../volume/domains.ts';
import { limitsOf, sameLimits } from '../volume/limits.ts';
import { hasPool, isDraining, mustLeave, placeMembers } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import {
  attachmentOn,
  cleanReplicas,
  replicaOn,
  unsealedLayer,
  writerOf,
} from '../volume/queries.ts';
import { standInNode } from '../volume/stand-in.ts';
import type {
  Attachment,
  Limits,
  Member,
  NodeName,
  NodeView,
  RollReason,
  SealedLayer,
  UnsealedLayer,
  Volume,
} from '../volume/types.ts';
import type { Self } from './context.ts';
import { taker } from './taker.ts';

export type LocalView = {
  head: HeadState | null;
  /** A head was started here for the open layer (it may be dead by now). */
  openLayerBurnt: boolean;
  /** `epoch`: the one in which the head's host last told the gateway; null when not known. */
  proxy: { session: string; headNode: NodeName; epoch: number | null } | null;
  /** The session for which a socket stands here, with a proxy or still without. */
  listening: string | null;
  gateways: string[];
  /** Peers whose replica server failed or answered an error. */
  failed: ReadonlySet<NodeName>;
  /** Peers that failed a short while ago and are not to be asked yet. */
  avoid: ReadonlySet<NodeName>;
  /** The head has served long enough for a change that is not urgent. */
  settled: boolean;
  /** False while what the store's cache says of other nodes' leases cannot be believed. */
  leasesKnown: boolean;
};

export type Duty =
  | { kind: 'kill-head'; why: string }
  | { kind: 'stop-proxy' }
  | { kind: 'stop-gateway'; session: string }
  | { kind: 'open' }
  /** This host has no pool, like all that have the volume attached: another node is to open it. */
  | { kind: 'stand-in' }
  | { kind: 'complete-roll' }
  | { kind: 'abandon-opening'; layer: string }
  | { kind: 'start-head' }
  | { kind: 'roll'; reason: RollReason; sizeBytes?: number }
  | { kind: 'hand-over'; to: Member }
  | { kind: 'close' }
  | { kind: 'set-limits'; limits: Limits }
  | { kind: 'sync-sessions'; add: string[]; remove: string[] }
  | { kind: 'start-proxy'; headNode: NodeName; session: string; epoch: number }
  | { kind: 'begin-fencing'; writer: NodeName; epoch: number; revoke: NodeName[] }
  | { kind: 'complete-fencing' }
  | { kind: 'drop-attachment'; host: NodeName };

export type Situation = {
  volume: Volume;
  /** Layers of other records that it shows below its own; null while they are not known here. */
  below?: readonly SealedLayer[] | null;
  self: Self;
  nodes: readonly NodeView[];
  local: LocalView;
};

/** The most urgent duty, or null when everything is as it should be. */
export function nextDuty(situation: Situation): Duty | null {
  return staleProcess(situation) ?? phaseDuty(situation);
}

/** True while the record has this node's head of that layer as the one that may serve. */
export function mayLive({ tail }: Volume, node: NodeName, layer: string): boolean {
  if (tail.phase === 'open') return tail.layer.id === layer && tail.layer.writer === node;
  return tail.phase === 'opening' && tail.closing?.id === layer && tail.next.writer === node;
}

/** Rules 13, 14: what belongs to another epoch or a revoked session goes first. */
function staleProcess({ volume, self, local }: Situation): Duty | null {
  const { tail } = volume;
  const { head, proxy } = local;
  if (head !== null) {
    if (!mayLive(volume, self.node, head.layer))
      return { kind: 'kill-head', why: `the volume is ${tail.phase} without it` };
  }
  const mine = attachmentOn(volume, self.node);
  if (proxy !== null) {
    const moved = tail.phase === 'open' && tail.layer.writer !== proxy.headNode;
    if (mine?.session !== proxy.session || moved) return { kind: 'stop-proxy' };
  }
  if (local.listening !== null && local.listening !== mine?.session) return { kind: 'stop-proxy' };
  const sessions = volume.attachments.map((a) => a.session);
  // A gateway outlives heads: other hosts' proxies would not learn of another one.
  const serving = writerOf(volume) === self.node;
  const gone = local.gateways.find((session) => !serving || !sessions.includes(session));
  return gone === undefined ? null : { kind: 'stop-gateway', session: gone };
}

function phaseDuty(situation: Situation): Duty | null {
  const { volume, self, local } = situation;
  const { tail } = volume;
  const mine = attachmentOn(volume, self.node);
  if (mine !== undefined && mine.boot !== self.boot) {
    // Its consumer lived in an earlier boot of this host and can never come back.
    return { kind: 'drop-attachment', host: self.node };
  }
  switch (tail.phase) {
    case 'deleting':
      return null;
    case 'idle': {
      const writer = firstWriter(situation);
      if (writer !== undefined) return writer === self.node ? { kind: 'open' } : null;
      return firstLiveHost(situation) === self.node ? { kind: 'stand-in' } : null;
    }
    case 'opening':
      return openingDuty(situation, tail.next, tail.closing);
    case 'open':
      return tail.layer.writer === self.node
        ? writerDuty(situation, tail.layer)
        : consumerDuty(situation, tail.layer);
    case 'fencing': {
      if (tail.taker === self.node) return { kind: 'complete-fencing' };
      if (!local.leasesKnown || isUp(situation, tail.taker) || !mayTakeOver(situation)) return null;
      return beginFencing(volume, tail.unsealed.writer, []);
    }
  }
}

function openingDuty(
  situation: Situation,
  next: UnsealedLayer,
  closing: UnsealedLayer | null,
): Duty | null {
  const { volume, self, local } = situation;
  const mine = attachmentOn(volume, self.node);
  const bootChanged = [next, closing].some(
    (layer) => layer !== null && layer.members[0]?.boot !== bootOf(situation, next.writer),
  );
  if (next.writer === self.node) {
    if (closing === null) {
      if (mine === undefined || bootChanged) return { kind: 'abandon-opening', layer: next.id };
    } else if (bootChanged) {
      return beginFencing(volume, self.node, []);
    }
    const to = taker(situation, closing);
    return to === undefined ? { kind: 'complete-roll' } : { kind: 'hand-over', to };
  }
  if (!local.leasesKnown || isUp(situation, next.writer)) return null;
  if (closing === null) {
    const may = mine !== undefined || mayTakeOver(situation);
    return may ? { kind: 'abandon-opening', layer: next.id } : null;
  }
  return mayTakeOver(situation)
    ? beginFencing(volume, next.writer, deadConsumers(situation, next.writer))
    : null;
}

function writerDuty(situation: Situation, layer: UnsealedLayer): Duty | null {
  const { volume, self, local } = situation;
  const mine = attachmentOn(volume, self.node);
  if (layer.members[0]?.boot !== self.boot) {
    return beginFencing(volume, self.node, []);
  }
  const { head } = local;
  const to = taker(situation, layer);
  if (to !== undefined) return { kind: 'hand-over', to };
  if (mine === undefined) return { kind: 'close' };
  if (head === null) {
    return local.openLayerBurnt ? { kind: 'roll', reason: 'head-died' } : { kind: 'start-head' };
  }
  if (mustEvict(situation, layer, head)) return { kind: 'roll', reason: 'evict' };
  if (mayReadDamaged(situation)) return { kind: 'roll', reason: 'damaged' };
  const wanted = volume.attachments.map((a) => a.session);
  const remove = head.sessions.filter((s) => !wanted.includes(s));
  const add = wanted.filter((s) => !head.sessions.includes(s));
  if (remove.length + add.length > 0) return { kind: 'sync-sessions', add, remove };
  const limits = limitsOf(volume);
  if (!sameLimits(head.limits, limits)) return { kind: 'set-limits', limits };
  if (!local.settled) return null;
  if (mayLeave(situation, mine)) return { kind: 'drop-attachment', host: self.node };
  const reason = worthwhileRoll(situation, layer, head);
  return reason === null ? null : { kind: 'roll', reason };
}

/**
 * A member failed or rebooted; or the peer failed that a sealed layer is read from and another could
 * take over; or it is back after a reboot: a read that it was sent before is never answered, and a
 * connection that waits for nothing but answers never ends (docs/design/data-plane.md).
 */
function mustEvict(
  { volume, below, self, nodes, local }: Situation,
  layer: UnsealedLayer,
  head: HeadState,
) {
  const { failed } = local;
  // The replica server of a member that rebooted answers, but never again for this layer (rule 6).
  const rebooted = (m: Member) =>
    nodes.some((n) => n.name === m.node && n.lease !== null && n.lease.boot !== m.boot);
  const others = layer.members.filter((m) => m.node !== self.node);
  if (others.some((m) => failed.has(m.node) || rebooted(m))) return true;
  return head.sealed.some(({ layer: id, from, fromBoot, backupPort }) => {
    if (from === null) return false;
    if (backupPort !== undefined) {
      const now = [...(below ?? []), ...volume.chain].find((l) => l.id === id)?.restoring;
      const moved = now !== undefined && (now.node !== from || now.port !== backupPort);
      if (moved && now.port !== null && nodes.some((n) => n.name === now.node && n.lease)) {
        return true;
      }
    }
    if (!failed.has(from)) {
      const lease = nodes.find((n) => n.name === from)?.lease ?? null;
      return lease !== null && fromBoot !== null && lease.boot !== fromBoot;
    }
    const sealed = [...(below ?? []), ...volume.chain].find((l) => l.id === id);
    return sealed !== undefined && isObtainable(sealed, nodes, failed);
  });
}

/**
 * The head may have a copy open that was found damaged: the next one does not read it, and then its
 * file can be mended. Only where every such layer can be read elsewhere, or no new head could start.
 */
function mayReadDamaged({ volume, nodes, local }: Situation): boolean {
  const damaged = damagedButRead(volume);
  const lives = (node: NodeName) =>
    !local.failed.has(node) && nodes.some((n) => n.name === node && n.lease !== null);
  return (
    damaged.length > 0 &&
    damaged.every(({ layer }) => soundReplicas(layer).some((r) => lives(r.node)))
  );
}

/** Changes that can wait for a quiet moment: a fuller write set, local reads, a shorter chain. */
function worthwhileRoll(
  { volume, below = [], self, nodes, local }: Situation,
  layer: UnsealedLayer,
  head: HeadState,
): RollReason | null {
  const unready = new Set([...local.failed, ...local.avoid]);
  const possible = placeMembers(volume, self.node, nodes, unready);
  const full = nodes.filter((n) => n.lease !== null && mustLeave(n)).map((n) => n.name);
  if (layer.members.some((m) => m.node !== self.node && full.includes(m.node))) return 'no-space';
  if (possible.length > layer.members.length) return 'add-member';
  // As many as before its policy asked for fewer; each write waits for all of them.
  if (layer.members.length > copiesWanted(volume.policy)) return 'retype';
  if (possible.length === layer.members.length) {
    const better = betterPlaced(nodes, layer.members, possible);
    if (better !== null) return better;
  }
  if (below !== null) {
    const seen = new Map([...below, ...volume.chain].map((l) => [l.id, l]));
    const cleanOn = (id: string, node: NodeName) => {
      const sealed = seen.get(id);
      return sealed !== undefined && replicaOn(sealed, node)?.state === 'clean';
    };
    const remote = head.sealed.filter((s) => s.from !== null);
    if (remote.length > 0 && remote.every((s) => cleanOn(s.layer, self.node))) return 'localise';
    if (head.sealed.some((s) => !seen.has(s.layer))) return 'merged';
    // It is in a copy now, and its backup is served only until nobody reads it any more.
    const restored = head.sealed
      .filter((s) => s.backupPort !== undefined)
      .flatMap((s) => seen.get(s.layer) ?? [])
      .filter((l) => l.restoring === undefined);
    if (restored.some((l) => isObtainable(l, nodes, local.failed))) return 'localise';
    // Another record decides of these copies: one that is offered no more waits until it is not read.
    const offered = (s: HeadState['sealed'][number]) =>
      s.backupPort !== undefined || cleanOn(s.layer, s.from ?? self.node);
    const shared = new Set(below.map((l) => l.id));
    if (head.sealed.some((s) => shared.has(s.layer) && !offered(s))) return 'merged';
  }
  // Files wait to be deleted until no head can have them open.
  if (volume.garbage.some((g) => g.afterEpoch >= layer.epoch)) return 'merged';
  return null;
}

/** True while a clean copy lies on a node that is alive. */
function isObtainable(
  layer: SealedLayer,
  nodes: readonly NodeView[],
  failed: ReadonlySet<NodeName>,
): boolean {
  return cleanReplicas(layer).some(
    (r) => !failed.has(r.node) && nodes.some((n) => n.name === r.node && n.lease !== null),
  );
}

/** Why other members would be better than those that there are, or null. */
function betterPlaced(
  nodes: readonly NodeView[],
  members: readonly Member[],
  possible: readonly Member[],
): RollReason | null {
  const views = (list: readonly Member[]) =>
    list.flatMap((m) => nodes.find((n) => n.name === m.node) ?? []);
  const [now, then] = [views(members), views(possible)];
  if (then.filter(isDraining).length < now.filter(isDraining).length) return 'drain';
  return sharedRacks(then) < sharedRacks(now) ? 'spread' : null;
}

function consumerDuty(situation: Situation, layer: UnsealedLayer): Duty | null {
  const { volume, self, local } = situation;
  const mine = attachmentOn(volume, self.node);
  const writerBoot = layer.members[0]?.boot;
  if (bootOf(situation, layer.writer) === writerBoot) {
    // A gateway lives while its host is the writer. That may have ended and begun again, unseen here.
    return mine !== undefined && local.proxy?.epoch !== layer.epoch
      ? {
          kind: 'start-proxy',
          headNode: layer.writer,
          session: mine.session,
          epoch: layer.epoch,
        }
      : null;
  }
  if (!local.leasesKnown || !mayTakeOver(situation)) return null;
  return beginFencing(volume, layer.writer, deadConsumers(situation, layer.writer));
}

function beginFencing({ epoch }: Volume, writer: NodeName, revoke: NodeName[]): Duty {
  return { kind: 'begin-fencing', writer, epoch, revoke };
}

/**
 * A take-over is for a host with a consumer; where nobody has the volume attached, the first live
 * member ends the epoch so that its copies can be proven, or gives up what was never served.
 */
function mayTakeOver(situation: Situation): boolean {
  const { volume, self } = situation;
  if (attachmentOn(volume, self.node) !== undefined) return firstLiveHost(situation) === self.node;
  if (volume.attachments.length > 0) return false;
  const { tail } = volume;
  const layer = unsealedLayer(volume) ?? (tail.phase === 'opening' ? tail.next : null);
  return layer?.members.find((m) => isUp(situation, m.node))?.node === self.node;
}

/** The host, when its recorded consumer is gone: with the host, or with an earlier boot of it. */
function deadConsumers(situation: Situation, host: NodeName): NodeName[] {
  const attachment = attachmentOn(situation.volume, host);
  const lives = attachment !== undefined && attachment.boot === bootOf(situation, host);
  return lives ? [] : [host];
}

function firstLiveHost(situation: Situation): NodeName | undefined {
  return liveHosts(situation)[0];
}

/** The first host with a live consumer that may write what is idle. */
function firstWriter(situation: Situation): NodeName | undefined {
  return liveHosts(situation).find((host) => !lacksPool(situation, host));
}

function liveHosts(situation: Situation): NodeName[] {
  return situation.volume.attachments
    .filter((a) => bootOf(situation, a.host) === a.boot)
    .map((a) => a.host);
}

function lacksPool({ nodes }: Situation, host: NodeName): boolean {
  return nodes.some((n) => n.name === host && !hasPool(n));
}

/** This node is being drained, and serves only in place of a host for which another one may. */
function mayLeave(situation: Situation, { standInFor }: Attachment): boolean {
  const { volume, below, self, nodes, local } = situation;
  if (standInFor === undefined || !lacksPool(situation, standInFor)) return false;
  const stays = (node: NodeView | undefined) => node !== undefined && !isDraining(node);
  if (stays(nodes.find((n) => n.name === self.node))) return false;
  const others = new Set([self.node, ...local.failed, ...local.avoid]);
  return stays(standInNode([...(below ?? []), ...volume.chain], nodes, others));
}

function bootOf({ nodes, self }: Situation, node: NodeName): string | undefined {
  if (node === self.node) return self.boot;
  return nodes.find((n) => n.name === node)?.lease?.boot;
}

function isUp(situation: Situation, node: NodeName): boolean {
  return bootOf(situation, node) !== undefined;
}

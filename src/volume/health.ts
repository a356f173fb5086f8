import { runsToCompact } from './compact.ts';
import { belowFindings } from './health-below.ts';
import { damageFindings } from './health-damage.ts';
import { sealedFindings } from './health-sealed.ts';
import { tailFindings } from './health-tail.ts';
import { counted, listed, percent } from './health-text.ts';
import {
  type Finding,
  type HealthState,
  type LayerReport,
  progressOf,
  type ReportContext,
  type Severity,
  type VolumeReport,
  type WorkView,
} from './health-types.ts';
import type { SeenLayer } from './lineage.ts';
import { calledIn } from './marks.ts';
import { hasPool } from './placement.ts';
import { copiesWanted } from './policy.ts';
import type {
  BootId,
  LayerId,
  NodeName,
  NodeView,
  PoolId,
  UnsealedLayer,
  Volume,
} from './types.ts';

export type * from './health-types.ts';

const rank: Record<Severity, number> = { unavailable: 0, 'at-risk': 1, degraded: 2 };

/**
 * Says in plain words how a volume is: where its copies are, what is wrong, why, and what is being
 * done about it.
 * @param work background work anywhere in the cluster; that of volumes that have nothing to do with
 *   it is ignored.
 * @param below layers of what it was cloned from, oldest first; null: not all of that is known.
 */
export function describeVolume(
  volume: Volume,
  nodes: readonly NodeView[],
  work: readonly WorkView[],
  below: readonly SeenLayer[] | null = [],
): VolumeReport {
  const context: ReportContext = {
    volume,
    called: calledIn(volume),
    wanted: copiesWanted(volume.policy),
    upCount: nodes.filter((node) => node.lease !== null && hasPool(node)).length,
    work: work.filter((item) => item.volume === volume.id),
    problem: (place) => placeProblem(nodes, place),
  };
  const deleting = volume.tail.phase === 'deleting';
  const shared = deleting ? [] : (below ?? []);
  const findings = deleting
    ? []
    : [
        ...tailFindings(context),
        ...belowFindings(context, work, below),
        ...volume.chain.flatMap((layer, index) => [
          ...damageFindings(context, layer, shared.length + index + 1),
          ...sealedFindings(context, layer, shared.length + index + 1),
        ]),
      ].sort((a, b) => rank[a.severity] - rank[b.severity]);
  const state = deleting ? 'deleting' : (findings[0]?.severity ?? 'healthy');
  return {
    state,
    summary: summaryOf(context, state, findings, shared.length),
    head: volume.tail.phase === 'open' ? volume.tail.layer.writer : null,
    copiesWanted: context.wanted,
    layers: layersOf(context, shared),
    findings,
    work: workOf(context, shared.length),
  };
}

function placeProblem(
  nodes: readonly NodeView[],
  place: { node: NodeName; pool?: PoolId; boot?: BootId },
): string | null {
  const lease = nodes.find((node) => node.name === place.node)?.lease;
  if (lease === undefined || lease === null) {
    return 'is down';
  }
  if (place.pool !== undefined && lease.pool !== place.pool) {
    return 'came back with another pool';
  }
  if (place.boot !== undefined && lease.boot !== place.boot) {
    return 'was rebooted';
  }
  return null;
}

function summaryOf(
  { volume, wanted }: ReportContext,
  state: HealthState,
  findings: readonly Finding[],
  sharedLayers: number,
): string {
  if (state === 'deleting') {
    const holders = [...new Set(volume.garbage.flatMap((g) => g.holders.map((h) => h.node)))];
    return holders.length === 0
      ? 'The volume is being deleted.'
      : `The volume is being deleted; files remain on ${listed(holders)}.`;
  }
  if (volume.importing !== undefined) {
    return `It is being made on ${volume.importing.node}; nobody can use it yet.`;
  }
  const [worst] = findings;
  if (worst !== undefined) {
    const more = findings.length - 1;
    return more === 0
      ? worst.what
      : `${worst.what.slice(0, -1)}; ${counted(more, 'more finding', 'more findings')}.`;
  }
  if (volume.chain.length + sharedLayers === 0 && volume.tail.phase === 'idle') {
    return 'Nothing written yet.';
  }
  const copies = counted(wanted, 'copy', 'copies');
  return `Every layer has the ${copies} that ${volume.policy.name} asks for.`;
}

function layersOf(context: ReportContext, below: readonly SeenLayer[]): LayerReport[] {
  const { chain, tail } = context.volume;
  const own = chain.map((layer) => ({ home: context.volume, layer }));
  const layers = [...below, ...own].map(
    ({ home, layer }, index): LayerReport => ({
      number: index + 1,
      id: layer.id,
      epoch: layer.epoch,
      volume: home.id,
      state: 'sealed',
      sizeBytes: layer.sizeBytes,
      bytes: layer.bytes,
      copies: layer.replicas.map((replica) => ({
        node: replica.node,
        state: replica.state,
        up: context.problem(replica) === null,
      })),
    }),
  );
  const add = (layer: UnsealedLayer, state: 'open' | 'closing' | 'opening') => {
    layers.push({
      number: layers.length + 1,
      id: layer.id,
      epoch: layer.epoch,
      volume: context.volume.id,
      state,
      sizeBytes: layer.sizeBytes,
      bytes: null,
      copies: layer.members.map((member) => ({
        node: member.node,
        state,
        up: context.problem(member) === null,
      })),
    });
  };
  if (tail.phase === 'open') {
    add(tail.layer, 'open');
  } else if (tail.phase === 'opening') {
    if (tail.closing !== null) {
      add(tail.closing, 'closing');
    }
    add(tail.next, 'opening');
  } else if (tail.phase === 'fencing') {
    add(tail.unsealed, 'closing');
  }
  return layers;
}

function workOf(
  { volume, work, problem }: ReportContext,
  sharedLayers: number,
): VolumeReport['work'] {
  const numberOf = (id: LayerId): string => {
    const index = volume.chain.findIndex((layer) => layer.id === id);
    return index < 0 ? `layer ${id.slice(0, 8)}` : `layer ${sharedLayers + index + 1}`;
  };
  const words = {
    mend: (item: WorkView) => `A copy of ${numberOf(item.layer)} is being made good`,
    manifest: (item: WorkView) => `Checksums of ${numberOf(item.layer)} are being computed`,
    merge: () => 'Layers are being merged',
    verify: (item: WorkView) => `The copy of ${numberOf(item.layer)} is being read and checked`,
    delete: (item: WorkView) => `Files of ${numberOf(item.layer)} are being deleted`,
    import: () => 'A file is being imported',
    restore: () => 'A backup is being restored',
    backup: () => 'A backup is being written or verified',
  };
  const lines = work.map((item) => {
    const progress = progressOf([item]);
    const where = item.node === undefined ? '' : ` on ${item.node}`;
    const source = item.from === null ? '' : ` from ${item.from}`;
    return {
      what: `${words[item.kind](item)}${where}${source}${percent(progress)}.`,
      progress,
    };
  });
  if (volume.merge !== null && !work.some((item) => item.kind === 'merge')) {
    const { layers, builder } = volume.merge;
    lines.push({
      what: `${counted(layers.length, 'layer', 'layers')} are merged by ${builder}.`,
      progress: null,
    });
  }
  const left = volume.merge === null ? runsToCompact(volume).length : 0;
  if (left > 0) {
    const runs = counted(left, 'run of layers is', 'runs of layers are');
    lines.push({
      what: `${runs} to be written anew, where there is room and all copies are whole.`,
      progress: null,
    });
  }
  if (volume.garbage.length > 0) {
    const holders = volume.garbage.flatMap((garbage) => garbage.holders);
    const names = [
      ...new Set(holders.map((h) => `${h.node}${problem(h) === null ? '' : ' (down)'}`)),
    ];
    if (names.length > 0) {
      lines.push({
        what: `Old files wait to be deleted on ${listed(names)}.`,
        progress: null,
      });
    }
  }
  return lines;
}

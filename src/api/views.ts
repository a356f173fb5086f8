import { repairRests } from '../cluster/repair-policy.ts';
import { consumersOf } from '../volume/attachments.ts';
import { runsToCompact } from '../volume/compact.ts';
import { describeVolume, type HealthState } from '../volume/health.ts';
import { limitsOf } from '../volume/limits.ts';
import { type Lookup, layersBelow } from '../volume/lineage.ts';
import { calledIn, snapshotsOf } from '../volume/marks.ts';
import { hasPool } from '../volume/placement.ts';
import { copiesWanted } from '../volume/policy.ts';
import type { NodeView, Policy, Volume } from '../volume/types.ts';
import type { LimitsAnswer } from './qos-schemas.ts';
import { nextStep } from './quarantine.ts';
import type {
  ClusterAnswer,
  EndpointAnswer,
  NodeAnswer,
  PolicyAnswer,
  VolumeAnswer,
  VolumeDetailAnswer,
  WorkAnswer,
} from './schemas.ts';
import type { Endpoint, NodeService, Work } from './service.ts';
import { cloneNames, parentName, snapshotViews } from './snapshot-views.ts';
import { spaceFindings } from './space-findings.ts';

/** What the API shows of records: what people and programs need, none of the protocol's parts. */

export function policyView(policy: Policy): PolicyAnswer {
  return { ...policy, copies: copiesWanted(policy) };
}

export function limitsView(volume: Volume): LimitsAnswer {
  return { from: volume.limits === undefined ? 'policy' : 'volume', ...limitsOf(volume) };
}

/** What a volume is seen among: nodes, and records that it may share layers with. */
export type Records = { nodes: NodeView[]; lookup: Lookup };

export function recordsOf(service: Pick<NodeService, 'nodes' | 'volumes'>): Records {
  const all = new Map(service.volumes().map(({ value }) => [value.id, value]));
  return { nodes: service.nodes(), lookup: (id) => all.get(id) };
}

export function volumeView(volume: Volume, records: Records): VolumeAnswer {
  const { report, losses, restoredFrom, snapshotList, clones, ...view } = volumeDetailView(
    volume,
    records,
    [],
  );
  return view;
}

export function volumeDetailView(
  volume: Volume,
  { nodes, lookup }: Records,
  work: Work[],
): VolumeDetailAnswer {
  const report = describeVolume(volume, nodes, work, layersBelow(volume, lookup));
  return {
    id: volume.id,
    name: volume.name,
    sizeBytes: volume.sizeBytes,
    policy: policyView(volume.policy),
    limits: limitsView(volume),
    createdAt: volume.createdAt,
    epoch: volume.epoch,
    state: report.state,
    summary: report.summary,
    head: report.head,
    layers: report.layers.length,
    sharedLayers: volume.parent?.layers ?? 0,
    role: volume.role ?? 'volume',
    parent: parentName(volume, lookup),
    snapshots: snapshotsOf(volume).length,
    flattening: volume.flatten ?? null,
    compacting: volume.compact === undefined ? null : runsToCompact(volume).length,
    metadata: { ...volume.metadata },
    episodes: volume.episodePlan ?? null,
    attachments: consumersOf(volume).map(({ host, session, since }) => ({ host, session, since })),
    servesFor: volume.attachments.find((a) => a.host === report.head)?.standInFor ?? null,
    report,
    snapshotList: snapshotViews(volume, lookup),
    clones: cloneNames(volume, lookup),
    restoredFrom: volume.restoredFrom ?? null,
    losses: (volume.losses ?? []).map(({ at, by, node, text }) => ({ at, by, node, text })),
  };
}

export function endpointView(endpoint: Endpoint): EndpointAnswer {
  const { host, session, since, uri, socket } = endpoint;
  return { host, session, since, uri, socket };
}

export function nodeView(node: NodeView, volumes: Volume[]): NodeAnswer {
  const { lease } = node;
  const copies = { open: 0, clean: 0, unverified: 0, copying: 0 };
  const heads: string[] = [];
  for (const { name, chain, tail, view } of volumes) {
    for (const layer of chain) {
      for (const replica of layer.replicas) {
        if (replica.node === node.name) {
          copies[replica.state] += 1;
        }
      }
    }
    if (tail.phase === 'open') {
      if (tail.layer.writer === node.name && view === undefined) {
        heads.push(name);
      }
      copies.open += tail.layer.members.filter((member) => member.node === node.name).length;
    }
  }
  return {
    name: node.name,
    up: lease !== null,
    pool: hasPool(node) ? node.pool : null,
    address: node.address,
    apiPort: node.apiPort,
    replicaPort: node.replicaPort,
    registeredAt: node.registeredAt,
    labels: { site: node.labels?.site ?? null, rack: node.labels?.rack ?? null },
    drain: node.drain === undefined ? null : { since: node.drain.at, by: node.drain.by },
    boot: lease?.boot ?? null,
    version: lease?.version ?? null,
    totalBytes: lease?.totalBytes ?? null,
    freeBytes: lease?.freeBytes ?? null,
    heads: heads.sort(),
    attached: volumes
      .filter((v) => v.view === undefined && consumersOf(v).some(({ host }) => host === node.name))
      .map((volume) => volume.name)
      .sort(),
    copies,
  };
}

export function workView(work: Work, volumes: Volume[]): WorkAnswer {
  const { node, volume, kind, layer, from, doneBytes, totalBytes, startedAt } = work;
  const record = volumes.find((v) => v.id === volume);
  const volumeName = record === undefined ? null : calledIn(record);
  return { node, volume, volumeName, kind, layer, from, doneBytes, totalBytes, startedAt };
}

/** The cluster at a glance, worst first. */
export function clusterView(service: NodeService): ClusterAnswer {
  const nodes = service.nodes();
  const records = recordsOf(service);
  // How a base is, the volumes that need it tell.
  const volumes = service
    .volumes()
    .filter(({ value }) => value.role !== 'base' && value.view === undefined)
    .map(({ value }) => volumeView(value, records));
  const counts: Record<HealthState, number> = {
    healthy: 0,
    degraded: 0,
    'at-risk': 0,
    unavailable: 0,
    deleting: 0,
  };
  for (const { state } of volumes) {
    counts[state] += 1;
  }
  const findings: ClusterAnswer['findings'] = [];
  const storeConnected = service.storeConnected();
  const quarantine = service.quarantine();
  if (quarantine !== null) {
    findings.push({
      what: `Node ${service.nodeName} is in quarantine: ${quarantine}. Guests run on; nothing can be changed.`,
      action: nextStep,
    });
  } else if (!storeConnected) {
    findings.push({
      what: `The metadata store does not answer ${service.nodeName}; what is shown may be old.`,
      action: 'I/O goes on, changes wait. Bring etcd back; everything resumes by itself.',
    });
  }
  for (const { name, state, summary } of volumes) {
    if (state !== 'healthy' && state !== 'deleting') {
      const what = `Volume ${name} is ${state}: ${summary}`;
      findings.push({ what, action: `hscli volume show ${name}` });
    }
  }
  const down = nodes.filter((node) => node.lease === null);
  for (const { name } of down) {
    findings.push({ what: `Node ${name} is down.`, action: `hscli node show ${name}` });
  }
  const pools = nodes.filter(hasPool);
  const poolsDown = pools.filter((node) => node.lease === null).length;
  if (poolsDown > 0 && repairRests(nodes)) {
    findings.push({
      what: `${poolsDown} of ${pools.length} nodes are down, more than a third: no copies are made in their place.`,
      action: 'Bring nodes back, or take out for good what will not come: hscli node remove NAME',
    });
  }
  for (const { name } of nodes.filter((n) => n.drain !== undefined)) {
    findings.push({
      what: `Node ${name} is being drained: it takes nothing new.`,
      action: `How far it is: hscli node drain ${name}. To end it: hscli node undrain ${name}`,
    });
  }
  findings.push(...spaceFindings(service));
  const state =
    (['unavailable', 'at-risk', 'degraded'] as const).find((s) => counts[s] > 0) ??
    (quarantine !== null ? 'at-risk' : findings.length > 0 ? 'degraded' : 'healthy');
  return {
    id: service.clusterId(),
    state,
    summary: findings[0]?.what ?? 'Everything is as it should be.',
    node: service.nodeName,
    version: service.version,
    storeConnected,
    quarantine,
    nodes: { total: nodes.length, up: nodes.length - down.length },
    volumes: { total: volumes.length, ...counts },
    totalBytes: nodes.reduce((sum, node) => sum + (node.lease?.totalBytes ?? 0), 0),
    freeBytes: nodes.reduce((sum, node) => sum + (node.lease?.freeBytes ?? 0), 0),
    provisionedBytes: volumes.reduce((sum, v) => sum + v.sizeBytes * v.policy.copies, 0),
    findings,
  };
}

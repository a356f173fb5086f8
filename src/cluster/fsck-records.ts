/** What records show by themselves, and against the list of nodes. Pure. */
import { errorText } from '../errors.ts';
import { soundReplicas } from '../volume/damage.ts';
import { isNameless } from '../volume/delete.ts';
import { counted, listed } from '../volume/health-text.ts';
import { assertRecord } from '../volume/invariants.ts';
import { clonesOf, placeOf } from '../volume/marks.ts';
import { unsealedLayer } from '../volume/queries.ts';
import type { Volume } from '../volume/types.ts';
import { finding } from './fsck-look.ts';
import type { FsckFinding, Scene } from './fsck-types.ts';

export function recordFindings(scene: Scene): FsckFinding[] {
  return [
    ...nodeFindings(scene),
    ...sharedNames(scene),
    ...scene.volumes.flatMap((volume) => [
      ...brokenRecord(volume),
      ...brokenLineage(scene, volume),
      ...unknownHosts(scene, volume),
      ...unknownPools(scene, volume),
      ...waitingGarbage(scene, volume),
    ]),
  ];
}

function nodeFindings({ nodes, silent, inspections }: Scene): FsckFinding[] {
  const down = nodes.filter((n) => n.lease === null);
  return [
    ...down.map(({ name }) =>
      finding(
        'note',
        'node-not-checked',
        { node: name },
        {
          what: `Node ${name} was not checked.`,
          why: 'It is down.',
          action: 'Bring it back and check again, or remove it: hscli node remove.',
        },
      ),
    ),
    ...silent.map(({ node, why }) =>
      finding(
        'warning',
        'node-silent',
        { node },
        {
          what: `Node ${node} was not checked.`,
          why: `It is up, but did not answer: ${why}.`,
          action: `See that hyperscaled on ${node} works and that its port can be reached.`,
        },
      ),
    ),
    ...inspections.flatMap(({ node, pool }) => {
      const recorded = nodes.find((n) => n.name === node)?.pool;
      if (recorded === pool) return [];
      return finding(
        'error',
        'pool-differs',
        { node, subject: pool },
        {
          what: `Node ${node} works with pool ${pool}.`,
          why: `It is registered with pool ${recorded ?? 'none'}; copies belong to pools.`,
          action: `Stop hyperscaled on ${node} and mount the right disk.`,
        },
      );
    }),
  ];
}

function sharedNames({ volumes }: Scene): FsckFinding[] {
  const live = volumes.filter((v) => !isNameless(v));
  const names = new Set(live.map((v) => v.name));
  return [...names].flatMap((name) => {
    const ids = live.filter((v) => v.name === name).map((v) => v.id);
    if (ids.length < 2) return [];
    return finding(
      'error',
      'name-shared',
      { subject: name },
      {
        what: `${ids.length} volumes are named ${name}: ${listed(ids)}.`,
        why: 'A name leads to one volume; the others are found by their ids alone.',
        action: 'Look at each by its id and delete what is not needed, by its id.',
      },
    );
  });
}

function brokenRecord(volume: Volume): FsckFinding[] {
  try {
    assertRecord(volume);
    return [];
  } catch (error) {
    return [
      finding(
        'error',
        'record-broken',
        { volume: volume.id },
        {
          what: `The record of volume ${volume.name} cannot be: ${errorText(error)}.`,
          why: 'A rule that every change keeps does not hold, so something else changed the record.',
          action:
            'Change nothing about the volume. Save its record (etcdctl get) and report it with the logs.',
        },
      ),
    ];
  }
}

/** A clone shows layers of another record, which must be there and know of it. */
function brokenLineage({ volumes }: Scene, volume: Volume): FsckFinding[] {
  const { parent, tail } = volume;
  if (parent === undefined || tail.phase === 'deleting') return [];
  const from = volumes.find((v) => v.id === parent.volume);
  const noted = from !== undefined && clonesOf(from).some((c) => c.volume === volume.id);
  if (from !== undefined && noted && placeOf(from, parent.layer) >= 0) return [];
  return [
    finding(
      'error',
      'clone-unnoted',
      { volume: volume.id, subject: parent.volume },
      {
        what: `Volume ${volume.name} goes on from ${from?.name ?? parent.volume}, which ${from === undefined ? 'is not there' : 'does not know of it'}.`,
        why: 'The two records are changed together, so something else changed one of them.',
        action:
          'Delete and merge nothing of the two. Save both records (etcdctl get) and report them with the logs.',
      },
    ),
  ];
}

function unknownHosts({ nodes }: Scene, volume: Volume): FsckFinding[] {
  return volume.attachments
    .filter((a) => !nodes.some((n) => n.name === a.host))
    .map(({ host }) =>
      finding(
        'warning',
        'host-unknown',
        { volume: volume.id, node: host },
        {
          what: `Volume ${volume.name} is attached on ${host}, which is no node.`,
          why: 'The node was removed while a consumer was recorded there.',
          action: `hscli volume detach ${volume.name} --node ${host} --force`,
        },
      ),
    );
}

function unknownPools(scene: Scene, volume: Volume): FsckFinding[] {
  const known = (pool: string) => isExpected(scene, pool);
  const sealed = volume.chain.flatMap((layer) =>
    layer.replicas
      .filter((r) => !known(r.pool))
      .map((replica) => {
        const others = soundReplicas(layer).some((r) => r !== replica && known(r.pool));
        const { node, pool } = replica;
        return finding(
          others ? 'warning' : 'error',
          'pool-unknown',
          { volume: volume.id, node, subject: `${layer.id} ${pool}` },
          {
            what: `Layer ${layer.epoch} of ${volume.name} has a ${replica.state} copy in pool ${pool} of ${node}.`,
            why: 'No node has this pool any more, so the copy will not come back.',
            action: others
              ? 'The copy is taken out of the record; another one is made.'
              : `It is the only clean one. If the disk is lost: hscli volume force ${volume.name}`,
          },
          others
            ? { do: 'lose-copy', volume: volume.id, layer: layer.id, node, pool, path: null }
            : null,
        );
      }),
  );
  const unsealed = unsealedLayer(volume);
  const members = (unsealed?.members ?? []).filter((m) => !known(m.pool));
  return [
    ...sealed,
    ...members.map(({ node, pool }) =>
      finding(
        'warning',
        'member-unknown',
        { volume: volume.id, node, subject: pool },
        {
          what: `What is written to ${volume.name} is to go to pool ${pool} of ${node}.`,
          why: 'No node has this pool any more.',
          action: `It is left out by itself while the volume is served. If it is not, hscli volume show ${volume.name} says why.`,
        },
      ),
    ),
  ];
}

/** Pools of registered nodes; a retired one is not expected back. */
function isExpected({ nodes, retired }: Scene, pool: string): boolean {
  return nodes.some((n) => n.pool === pool) && !retired.some((r) => r.pool === pool);
}

function waitingGarbage(scene: Scene, volume: Volume): FsckFinding[] {
  const holders = volume.garbage.flatMap((g) => g.holders);
  const pools = [...new Set(holders.map((h) => h.pool))];
  return pools.flatMap((pool) => {
    const node = holders.find((h) => h.pool === pool)?.node ?? '';
    const files = holders.filter((h) => h.pool === pool).length;
    const what = `${counted(files, 'old file', 'old files')} of ${volume.name} to be deleted on ${node}.`;
    const place = { volume: volume.id, node, subject: pool };
    if (!isExpected(scene, pool)) {
      const fix = { do: 'retire' as const, volume: volume.id, node, pool };
      return finding(
        'warning',
        'garbage-for-nobody',
        place,
        {
          what,
          why: `No node has pool ${pool} any more, so they would be waited for without end.`,
          action: 'They are waited for no longer.',
        },
        fix,
      );
    }
    if (scene.nodes.some((n) => n.pool === pool && n.lease !== null)) return [];
    return finding('note', 'garbage-waits', place, {
      what,
      why: `${node} is down.`,
      action: `They go when ${node} is back, or is removed: hscli node remove ${node}`,
    });
  });
}

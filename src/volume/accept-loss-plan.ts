/**
 * Going on without data that cannot be reached, because an operator decided so. What the rules
 * refuse to decide by themselves (rules 3, 5, 6) is worked out here: which copies would be believed
 * and which layers given up. The result is always a state that the volume had at some time.
 */
import { HyperscaleError } from '../errors.ts';
import { chooseAuthority } from './fence.ts';
import { clonesOf } from './marks.ts';
import { unsealedLayer } from './queries.ts';
import { refuse } from './refuse.ts';
import type {
  BootId,
  LayerId,
  NodeName,
  PoolId,
  Replica,
  SealedLayer,
  UnsealedLayer,
  Volume,
} from './types.ts';

/** What a node that answers really holds of a volume. `writtenAt`: when the file last changed. */
export type Reached = {
  node: NodeName;
  pool: PoolId;
  boot: BootId;
  layers: { layer: LayerId; writtenAt: string }[];
};

/** A copy that would decide what its layer holds, although a better one may exist. */
export type Believed = {
  layer: LayerId;
  epoch: number;
  node: NodeName;
  writtenAt: string;
  /**
   * `rebooted`: a member whose host restarted meanwhile; `unverified`: never compared; `damaged`:
   * found to differ from what was sealed.
   */
  why: 'rebooted' | 'unverified' | 'damaged';
};

/** A layer that would be taken out of the volume; `since` is when its epoch began, if known. */
export type Dropped = {
  layer: LayerId;
  epoch: number;
  since: string | null;
  holders: NodeName[];
};

export type LossPlan = {
  believed: Believed[];
  dropped: Dropped[];
  /** Nodes that may hold what would be lost. */
  missing: NodeName[];
  /**
   * The writer of the epoch that would be ended, when neither it nor any other member can be reached
   * and made to refuse: they may go on among themselves.
   */
  cutOffWriter: NodeName | null;
};

/**
 * What would be lost if the volume went on with what can be reached now.
 * @throws `not-allowed` when nothing would be: the volume needs no force; `unavailable` when nothing
 *   is left to go back to, or newer layers are in use; `in-use` when clones go on from what would go.
 */
export function planLoss(volume: Volume, reached: readonly Reached[]): LossPlan {
  if (volume.tail.phase === 'deleting') refuse(volume, 'force', 'it is being deleted');
  const { believed, whole } = believableChain(volume, reached);
  const cut = volume.chain.slice(whole);
  const unsealed = unsealedLayer(volume);
  const verdict = unsealed === null ? 'kept' : judgeUnsealed(volume, unsealed, reached);
  if (verdict === 'served' && cut.length > 0) {
    const names = holdersOf(cut[0]).join(' or ');
    throw new HyperscaleError(
      'unavailable',
      `layer ${cut[0]?.epoch} of ${volume.name} can be read nowhere, and newer layers are in use on ${unsealed?.writer}`,
      { hint: `Bring back ${names}; or detach the volume everywhere, then ask again.` },
    );
  }
  const tailLost =
    unsealed !== null && verdict !== 'served' && (cut.length > 0 || verdict === null);
  if (tailLost || cut.length > 0) assertSomethingLeft(volume, whole, unsealed);
  assertNotCloned(volume, cut);
  if (!tailLost && typeof verdict === 'object' && verdict !== null) believed.push(verdict);
  const dropped = [...cut.map(droppedSealed), ...(tailLost ? [droppedUnsealed(unsealed)] : [])];
  if (believed.length + dropped.length === 0) {
    throw new HyperscaleError('not-allowed', `no data of volume ${volume.name} is out of reach`, {
      hint: `Use it as always: hscli volume attach ${volume.name}. If it does not serve, hscli volume show ${volume.name} says why.`,
      values: { volume: volume.id },
    });
  }
  return {
    believed,
    dropped,
    missing: missingNodes(volume, reached, believed, dropped),
    cutOffWriter:
      unsealed !== null && !unsealed.members.some((m) => reached.some((r) => r.node === m.node))
        ? unsealed.writer
        : null,
  };
}

/** How many of the oldest layers are there without a gap, and which copies that takes on trust. */
function believableChain(volume: Volume, reached: readonly Reached[]) {
  const believed: Believed[] = [];
  for (const [index, layer] of volume.chain.entries()) {
    const there = layer.replicas.filter((r) => fileOf(reached, r, layer.id) !== undefined);
    // The backup has what a layer holds that is being restored.
    if (there.some((r) => r.state === 'clean') || layer.restoring !== undefined) continue;
    const written = (r: Replica) => fileOf(reached, r, layer.id);
    const doubtful = there.filter((r) => r.state === 'unverified');
    const whole = newest(
      doubtful.filter((r) => r.damage === undefined),
      written,
    );
    const best = whole ?? newest(doubtful, written);
    if (best === undefined) return { believed, whole: index };
    const { id, epoch } = layer;
    believed.push({ layer: id, epoch, ...best, why: whole ? 'unverified' : 'damaged' });
  }
  return { believed, whole: volume.chain.length };
}

/**
 * `served`: its writer is there; `kept`: a take-over finds an authority; a copy to be believed; or
 * null: no copy is there.
 */
function judgeUnsealed(
  volume: Volume,
  layer: UnsealedLayer,
  reached: readonly Reached[],
): 'served' | 'kept' | Believed | null {
  const [writer] = layer.members;
  const lives = reached.some((r) => r.node === writer?.node && r.boot === writer.boot);
  if (volume.tail.phase !== 'fencing' && lives) return 'served';
  const answers = reached.map(({ layers, ...r }) => ({
    ...r,
    holds: layers.some((l) => l.layer === layer.id),
  }));
  if (chooseAuthority(layer, answers, '') !== undefined) return 'kept';
  const best = newest(layer.members, (m) => fileOf(reached, m, layer.id));
  const { id, epoch } = layer;
  return best === undefined ? null : { layer: id, epoch, ...best, why: 'rebooted' };
}

function fileOf(
  reached: readonly Reached[],
  place: { node: NodeName; pool: PoolId },
  layer: LayerId,
): string | undefined {
  const node = reached.find((r) => r.node === place.node && r.pool === place.pool);
  return node?.layers.find((l) => l.layer === layer)?.writtenAt;
}

function newest<T extends { node: NodeName }>(
  places: readonly T[],
  written: (place: T) => string | undefined,
): { node: NodeName; writtenAt: string } | undefined {
  return places
    .flatMap((p) => {
      const writtenAt = written(p);
      return writtenAt === undefined ? [] : [{ node: p.node, writtenAt }];
    })
    .sort((a, b) => (a.writtenAt < b.writtenAt ? 1 : -1))[0];
}

function assertSomethingLeft(volume: Volume, whole: number, unsealed: UnsealedLayer | null): void {
  if (whole > 0) return;
  const [first] = volume.chain;
  const names = first === undefined ? unsealed?.members.map((m) => m.node) : holdersOf(first);
  throw new HyperscaleError(
    'unavailable',
    `nothing of volume ${volume.name} can be reached: there is no older state to go back to`,
    {
      hint: `Bring back ${(names ?? []).join(' or ')}. If they are gone for good, so is the data: hscli volume delete ${volume.name}`,
      values: { volume: volume.id, holders: names },
    },
  );
}

/** What a clone goes on from cannot go: its own data lies on top of it. */
function assertNotCloned(volume: Volume, cut: readonly SealedLayer[]): void {
  const clones = clonesOf(volume).filter((c) => cut.some((l) => l.id === c.layer));
  if (clones.length === 0) return;
  const names = holdersOf(cut[0]).join(' or ');
  const ids = clones.map((c) => c.volume);
  throw new HyperscaleError(
    'in-use',
    `clones of volume ${volume.name} go on from what cannot be read: ${ids.join(', ')}`,
    {
      hint: `Bring back ${names}; or delete these clones, whose data is lost with it, then ask again.`,
      values: { volume: volume.id, clones: ids },
    },
  );
}

const holdersOf = (layer: SealedLayer | undefined): NodeName[] =>
  (layer?.replicas ?? []).filter((r) => r.state !== 'copying').map((r) => r.node);

function droppedSealed(layer: SealedLayer): Dropped {
  const { id, epoch, openedAt } = layer;
  return { layer: id, epoch, since: openedAt ?? null, holders: holdersOf(layer) };
}

function droppedUnsealed({ id, epoch, openedAt, members }: UnsealedLayer): Dropped {
  return { layer: id, epoch, since: openedAt ?? null, holders: members.map((m) => m.node) };
}

/** Who could bring back what would be lost: holders that cannot be reached, with their pool. */
function missingNodes(
  volume: Volume,
  reached: readonly Reached[],
  believed: readonly Believed[],
  dropped: readonly Dropped[],
): NodeName[] {
  const touched = new Set([...believed, ...dropped].map((l) => l.layer));
  const unsealed = unsealedLayer(volume);
  const places = [
    ...volume.chain.filter((l) => touched.has(l.id)).flatMap((l) => l.replicas),
    ...(unsealed !== null && touched.has(unsealed.id) ? unsealed.members : []),
  ];
  const away = places.filter((p) => !reached.some((r) => r.node === p.node && r.pool === p.pool));
  return [...new Set(away.map((p) => p.node))].sort();
}

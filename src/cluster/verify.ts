/** What the comparison of all copies of a volume says. Pure; `src/node/verify.ts` asks the nodes. */
import type { CopyCheck, Manifest } from '../api/service.ts';
import { unreadable } from '../engine/layer-content.ts';
import { containerBytes } from '../engine/layer-files.ts';
import { differences, rangesOf, totalBytes } from '../volume/damage.ts';
import type { ByteRange, NodeName, Replica, ReplicaState, SealedLayer } from '../volume/types.ts';

/**
 * - `equal`: holds what the record, or without one the other copies, say.
 * - `differs`: parts of it are something else. `missing`: the file is not there. `unreadable`: the
 *   disk does not return parts of it.
 * - `node-down`, `not-checked`: nothing is known, and why.
 * - `open`: being written, so there is nothing yet to compare with.
 */
export type CopyResult =
  | 'equal'
  | 'differs'
  | 'missing'
  | 'unreadable'
  | 'node-down'
  | 'not-checked'
  | 'open';

export type VerifiedCopy = {
  node: NodeName;
  /** What the record says of the copy. */
  recorded: ReplicaState | 'open';
  result: CopyResult;
  /** Parts of its file that are not as they should be. */
  damaged: ByteRange[];
  why: string | null;
  /** It was damaged when the verification began, and is equal now. */
  repaired: boolean;
};

export type VerifiedLayer = {
  /** Position in the chain, from 1. */
  number: number;
  id: string;
  epoch: number;
  state: 'sealed' | 'open';
  /** What its copies were compared with. */
  against: 'record' | 'each-other' | 'nothing';
  copies: VerifiedCopy[];
};

export type Verification = {
  id: string;
  name: string;
  /** `incomplete`: no damage was found, and not all copies of sealed layers were compared. */
  result: 'equal' | 'damaged' | 'incomplete';
  /** One plain sentence. */
  summary: string;
  layers: VerifiedLayer[];
  findings: { what: string; why: string; action: string }[];
};

/** What asking a node for its copy gave. */
export type Asked =
  | { node: NodeName; check: CopyCheck }
  | { node: NodeName; failed: 'node-down' | 'not-checked' | 'unreadable'; why: string };

/** @param wanted the chunk hashes that the record's root is of; null when no node has them. */
export function verifiedLayer(
  layer: SealedLayer,
  number: number,
  asked: readonly Asked[],
  wanted: Manifest | null,
): VerifiedLayer {
  const { id, epoch, manifest } = layer;
  const root = manifest ?? firstRoot(layer, asked);
  const copies = layer.replicas.map((replica) => {
    const answer = asked.find((a) => a.node === replica.node);
    return copyOf(layer, replica, answer, root, wanted);
  });
  const read = asked.filter((a) => 'check' in a && a.check.state === 'read').length;
  const against = manifest !== null ? 'record' : read > 1 ? 'each-other' : 'nothing';
  return { number, id, epoch, state: 'sealed', against, copies };
}

/** Damage, in a copy that is relied on or was found damaged before. */
export function isDamaged(copy: VerifiedCopy): boolean {
  return copy.result === 'differs' || copy.result === 'missing' || copy.result === 'unreadable';
}

/** Without a record it is the authority that decides what is right. */
function firstRoot(layer: SealedLayer, asked: readonly Asked[]): string | null {
  const roots = asked.flatMap((a) =>
    'check' in a && a.check.state === 'read' ? [{ node: a.node, root: a.check.root }] : [],
  );
  const first = roots.find((r) => r.node === layer.authority) ?? roots[0];
  return roots.length > 1 ? (first?.root ?? null) : null;
}

function copyOf(
  layer: SealedLayer,
  replica: Replica,
  asked: Asked | undefined,
  root: string | null,
  wanted: Manifest | null,
): VerifiedCopy {
  const { node, state: recorded } = replica;
  const copy = (result: CopyResult, damaged: ByteRange[] = [], why: string | null = null) => ({
    node,
    recorded,
    result,
    damaged,
    why,
    repaired: false,
  });
  if (asked === undefined) return copy('not-checked', [], 'it was not asked for');
  const all = [{ offset: 0, length: containerBytes(layer.sizeBytes) }];
  if ('failed' in asked) {
    return copy(asked.failed, asked.failed === 'unreadable' ? all : [], asked.why);
  }
  const { check } = asked;
  if (check.state === 'read' && root !== null && check.root === root) return copy('equal');
  if (recorded !== 'clean' && replica.damage === undefined) {
    return copy('not-checked', [], 'it is being compared or filled in the background');
  }
  if (check.state === 'missing') return copy('missing', all, 'there is no such file');
  if (root === null) {
    const why = 'there is nothing to compare it with until its checksums are recorded';
    return copy('not-checked', [], why);
  }
  const found = { chunks: check.chunks ?? [], lengthBytes: check.lengthBytes };
  const chunks = found.chunks.flatMap((hash, i) => (hash === unreadable ? [i] : []));
  const damaged = wanted === null ? all : differences(wanted, found);
  if (chunks.length > 0) {
    const parts = rangesOf(
      chunks,
      Math.ceil(found.lengthBytes / found.chunks.length),
      found.lengthBytes,
    );
    return copy('unreadable', damaged, `the disk does not return ${totalBytes(parts)} bytes`);
  }
  if (layer.manifest === null) {
    return copy('differs', damaged, 'which copy is right is known when its checksums are recorded');
  }
  const long = wanted !== null && wanted.lengthBytes !== found.lengthBytes;
  const why = long
    ? `its file has ${found.lengthBytes} bytes and should have ${wanted.lengthBytes}`
    : null;
  return copy('differs', damaged, why);
}

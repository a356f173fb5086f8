/** Which of several records of one volume is the newest. Pure. */
import { laterRevision } from '../store/record-cache.ts';
import type { UnsealedLayer, Volume } from '../volume/types.ts';
import type { Candidate } from './recover-types.ts';

/**
 * How many recoveries the metadata with this identity have behind them. An identity is a UUID; each
 * recovery appends, in place of what one before it appended, `.RANDOM.NUMBER`.
 */
export function recoveriesOf(clusterId: string): number {
  const match = /\.[0-9a-f]{8}\.(\d{1,9})$/.exec(clusterId);
  return match === null ? 0 : Number(match[1]);
}

/** The part of an identity that no recovery changes. */
export function clusterOf(clusterId: string): string {
  return clusterId.replace(/\..*$/, '');
}

/**
 * The identity of the metadata after a recovery.
 * @param known identities that were found; the one with the most recoveries is continued.
 * @param random 8 hex digits.
 */
export function nextClusterId(known: readonly string[], random: string): string {
  const last = [...known].sort((a, b) => recoveriesOf(b) - recoveriesOf(a))[0] ?? '';
  return `${clusterOf(last)}.${random}.${recoveriesOf(last) + 1}`;
}

/**
 * Negative when `a` is newer. What was decided by a recovery is newer than everything before it.
 * Epochs only rise; within an epoch the store's revision decides, where both are of one store.
 */
export function compareCandidates(a: Candidate, b: Candidate): number {
  const recoveries = recoveriesOf(b.clusterId) - recoveriesOf(a.clusterId);
  if (recoveries !== 0) return recoveries;
  if (a.volume.epoch !== b.volume.epoch) return b.volume.epoch - a.volume.epoch;
  if (a.clusterId === b.clusterId && a.revision !== b.revision) {
    return laterRevision(a.revision, b.revision) ? -1 : 1;
  }
  // The same record in several places: the one in the store needs no writing.
  return Number(a.node !== null) - Number(b.node !== null);
}

/** The layer that the newest epoch of a record writes or is about to write. */
export function newestUnsealed(volume: Volume): UnsealedLayer | null {
  const { tail } = volume;
  if (tail.phase === 'open') return tail.layer;
  if (tail.phase === 'opening') return tail.next;
  return tail.phase === 'fencing' ? tail.unsealed : null;
}

/**
 * A record that cannot be of the same history as the newest one: of a store that was set back and
 * used before it was noticed. Undefined when all of them can.
 */
export function otherHistory(newest: Candidate, all: readonly Candidate[]): Candidate | undefined {
  const layer = newestUnsealed(newest.volume);
  return all.find((other) => {
    if (recoveriesOf(other.clusterId) !== recoveriesOf(newest.clusterId)) return false;
    const theirs = newestUnsealed(other.volume);
    const sameEpoch = layer !== null && theirs !== null && layer.epoch === theirs.epoch;
    if (sameEpoch && layer.id !== theirs.id) return true;
    // In one history a later revision has no lower epoch.
    return (
      other.clusterId === newest.clusterId &&
      other.volume.epoch < newest.volume.epoch &&
      laterRevision(other.revision, newest.revision)
    );
  });
}

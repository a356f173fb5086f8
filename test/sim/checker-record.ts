import { errorText } from '../../src/errors.ts';
import { assertRecord, assertStep } from '../../src/volume/invariants.ts';
import { copiesWanted } from '../../src/volume/policy.ts';
import { cleanReplicas, unsealedLayer } from '../../src/volume/queries.ts';
import type { Merge, Replica, SealedLayer, Volume } from '../../src/volume/types.ts';
import { type Checks, type Known, short } from './checker-known.ts';
import { begin, checkBackups, checkRevert, checkSnapshots } from './checker-sharing.ts';
import { blockCount, blocksOf } from './disk.ts';
import { overlay } from './layer-store.ts';

/** Holds a new record against the one before it and against what lies on the disks. */
export function checkRecord(
  checker: Checks,
  known: Known,
  previous: Volume | null,
  next: Volume,
): void {
  try {
    if (previous === null) assertRecord(next);
    else assertStep(previous, next);
  } catch (error) {
    checker.fail(errorText(error));
  }
  if (next.tail.phase === 'deleting') return;
  if (previous === null) begin(checker, known, next);
  checkRedundancy(checker, previous, next);
  checkPools(checker, next);
  const shown = previous === null ? [] : chainContent(known, previous);
  const fresh = next.chain.filter((layer) => !known.sealed.has(layer.id));
  for (const layer of fresh) learnSealed(checker, known, previous, layer);
  if (previous === null && fresh.length > 0) {
    known.history.restart(chainContent(known, next));
    checker.counts.imports += 1;
  }
  checkCopies(checker, known, next);
  if (previous?.importing !== undefined) checkImport(checker, known, next);
  const merged = fresh.some((layer) => layer.id === previous?.merge?.into);
  if (merged && chainContent(known, next).join() !== shown.join()) {
    checker.fail(`the merge of ${short(next.id)} shows other content than its layers (rule 16)`);
  }
  if (fresh.length > 0 && !merged) {
    if (allRebooted(checker, previous)) known.history.forgive(chainContent(known, next));
    checker.counts.sealed += 1;
    const wrong = known.history.wrongContent(chainContent(known, next));
    if (wrong !== null) {
      checker.fail(`after a seal at epoch ${next.epoch} of ${short(next.id)}, ${wrong}`);
    }
  }
  if (previous !== null) checkRevert(checker, known, previous, next);
  checkSnapshots(checker, known, next);
  if (previous !== null) checkBackups(checker, known, previous, next);
  if (next.tail.phase === 'open' && previous?.tail.phase === 'opening') {
    for (const { node } of next.tail.layer.members) {
      const copy = checker.diskOf(node)?.copies.get(next.tail.layer.id);
      const empty = copy?.cached.every((value) => value === 0) === true;
      if (!empty) checker.fail(`${node} has no empty file of epoch ${next.tail.layer.epoch}`);
    }
  }
}

/** A machine without a pool holds nothing, and is never to write. */
function checkPools(checker: Checks, { chain, merge, tail }: Volume): void {
  const layers = [...chain, ...(merge === null ? [] : [merge])].flatMap((l) => l.replicas);
  const written =
    tail.phase === 'open' ? [tail.layer] : tail.phase === 'opening' ? [tail.next] : [];
  for (const { node } of [...layers, ...written.flatMap((l) => l.members)]) {
    if (checker.diskOf(node)?.machine.withoutPool === true) {
      checker.fail(`${node} has no pool and holds a copy`);
    }
  }
}

/** What was made of a file, or of a backup, shows that from the moment on when it can be used. */
function checkImport(checker: Checks, known: Known, next: Volume): void {
  const [layer] = next.chain;
  if (layer === undefined) return;
  const { file, restoredFrom } = next;
  const from = restoredFrom?.backup ?? file?.sha256 ?? '';
  const expected = checker.backups.get(from) ?? checker.files.get(from) ?? [];
  const shown = chainContent(known, next);
  if (shown.some((value, block) => value !== (expected[block] ?? 0))) {
    checker.fail(
      `${next.name} shows ${shown.join()}, and what it is made of holds ${expected.join()}`,
    );
  }
  known.history.restart(shown);
  checker.counts.imports += 1;
}

/** Every member of the layer that was open has lost power since, and with it what was not stable. */
function allRebooted(checker: Checks, previous: Volume | null): boolean {
  const layer = previous === null ? null : unsealedLayer(previous);
  return layer?.members.every((m) => checker.diskOf(m.node)?.machine.boot !== m.boot) === true;
}

/** What is seen through the sealed layers. */
export function chainContent(known: Known, volume: Volume): number[] {
  return overlay([known.below, ...volume.chain.map((l) => known.sealed.get(l.id) ?? [])]);
}

/**
 * From its seal on a layer holds what its authority held then; a merge what its run showed; one that
 * is being restored what its backup holds.
 */
function learnSealed(
  checker: Checks,
  known: Known,
  previous: Volume | null,
  layer: SealedLayer,
): void {
  if (previous?.merge?.into === layer.id) {
    known.sealed.set(layer.id, mergedContent(known, previous.merge));
    return;
  }
  if (layer.restoring !== undefined) {
    const { backups } = checker;
    const held = backups.get(known.record?.restoredFrom?.backup ?? '') ?? [];
    known.sealed.set(
      layer.id,
      Array.from({ length: blockCount }, (_, block) => held[block] ?? 0),
    );
    return;
  }
  const copy = checker.diskOf(layer.authority)?.copies.get(layer.id);
  if (copy === undefined) {
    checker.fail(`the authority ${layer.authority} has no file of layer ${layer.epoch}`);
  }
  known.sealed.set(layer.id, [...copy.cached]);
}

/** What the result of a merge holds; of a flatten, all that ancestors show. */
function mergedContent(known: Known, { below, layers }: Merge): number[] {
  if (below === true) return overlay([known.below]);
  return overlay(layers.map((id) => known.sealed.get(id) ?? []));
}

/** Every clean copy holds exactly what the layer holds, on stable storage. */
export function checkCopies(checker: Checks, known: Known, volume: Volume): void {
  for (const layer of volume.chain) {
    const content = known.sealed.get(layer.id) ?? [];
    checkClean(checker, layer, layer.epoch, content);
    checkLength(checker, layer);
  }
  const { merge } = volume;
  if (merge !== null) {
    const content = mergedContent(known, merge);
    checkClean(checker, { ...merge, id: merge.into }, volume.epoch, content);
  }
}

function checkClean(
  checker: Checks,
  layer: { id: string; replicas: Replica[] },
  epoch: number,
  content: readonly number[],
): void {
  const expected = content.join();
  for (const { node } of cleanReplicas(layer)) {
    if (checker.isRotten(node, layer.id)) continue;
    const copy = checker.diskOf(node)?.copies.get(layer.id);
    if (copy === undefined) {
      checker.fail(`${node} is said to hold layer ${epoch} and has no file of it`);
    }
    if (copy.cached.join() !== expected) {
      checker.fail(`clean layer ${epoch} on ${node} holds ${copy.cached.join()}, not ${expected}`);
    }
    if (copy.stable.join() !== expected || !copy.onDisk) {
      checker.fail(
        `clean layer ${epoch} on ${node} is not on stable storage (rule 12): ${copy.stable.join()}, not ${expected}, onDisk ${copy.onDisk}`,
      );
    }
  }
}

/** A file that is shorter than its layer would lose what is written, or differ from other copies. */
function checkLength(checker: Checks, { id, epoch, sizeBytes, replicas }: SealedLayer): void {
  for (const { node } of replicas) {
    const blocks = checker.diskOf(node)?.copies.get(id)?.blocks;
    if (blocks === undefined || blocks === blocksOf(sizeBytes)) continue;
    checker.fail(`layer ${epoch} on ${node} has ${blocks} blocks, not ${blocksOf(sizeBytes)}`);
  }
}

/** No step gives up a proven copy that the policy wants. */
function checkRedundancy(checker: Checks, previous: Volume | null, next: Volume): void {
  if (previous === null) return;
  const wanted = copiesWanted(next.policy);
  const before = new Map(previous.chain.map((l) => [l.id, cleanReplicas(l).length]));
  const inputs = previous.merge?.layers.map((id) => before.get(id) ?? 0) ?? [];
  // Others decide of the copies of what a flatten is made of.
  const merged = previous.merge?.below === true ? [1] : inputs;
  for (const layer of next.chain) {
    const was =
      before.get(layer.id) ?? (layer.id === previous.merge?.into ? Math.min(...merged) : 1);
    const now = cleanReplicas(layer).length;
    // A rotten copy is given up when it is found, and counts until then.
    const rots = checker.disks.some((d) => checker.isRotten(d.machine.name, layer.id));
    if (now < Math.min(was, wanted) && !rots) {
      checker.fail(`layer ${layer.epoch} had ${was} clean copies and has ${now} (rule 7)`);
    }
  }
}

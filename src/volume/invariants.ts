/** The rules of docs/design/rules.md that a record, or a step between two records, can show. */
import { HyperscaleError } from '../errors.ts';
import { decidedNow } from './accept-loss-step.ts';
import { soundReplicas } from './damage.ts';
import { becameBase, isRevert, lostMarks, wrongMarks } from './invariant-marks.ts';
import { wrongGrowth, wrongSizes } from './invariant-sizes.ts';
import { placeOf } from './marks.ts';
import { cleanReplicas, knownLayers, replicaOn } from './queries.ts';
import type { UnsealedLayer, Volume } from './types.ts';

function rule(volume: Volume, holds: boolean, text: string): asserts holds {
  if (holds) return;
  throw new HyperscaleError('rule-broken', `volume ${volume.name}: ${text}`, {
    values: { volume: volume.id, record: volume },
    hint: 'This is a defect. Nothing was changed; report it with the record.',
  });
}

function nothingWrong(volume: Volume, wrong: string | null): void {
  rule(volume, wrong === null, wrong ?? '');
}

/** Checks one record by itself. @throws `rule-broken` */
export function assertRecord(volume: Volume): void {
  const epochs = volume.chain.map((l) => l.epoch);
  rule(
    volume,
    epochs.every((e, i) => e >= 1 && e <= volume.epoch && (i === 0 || e > (epochs[i - 1] ?? 0))),
    'epochs of the chain must rise',
  );
  const inUse = knownLayers({ ...volume, garbage: [] }).map((l) => l.id);
  rule(volume, new Set(inUse).size === inUse.length, 'a layer id is used twice (rule 17)');
  for (const layer of volume.chain) {
    rule(
      volume,
      cleanReplicas(layer).length > 0 || (layer.restoring !== undefined && layer.manifest === null),
      `layer ${layer.epoch} has no clean copy (rule 7)`,
    );
    const nodes = layer.replicas.map((r) => r.node);
    rule(volume, new Set(nodes).size === nodes.length, `layer ${layer.epoch} lists a node twice`);
  }
  const hosts = volume.attachments.map((a) => a.host);
  rule(volume, new Set(hosts).size === hosts.length, 'a host is attached twice');
  const { tail } = volume;
  const newest = epochs.at(-1) ?? 0;
  if (tail.phase === 'open') assertUnsealed(volume, tail.layer, newest);
  if (tail.phase === 'fencing') assertUnsealed(volume, tail.unsealed, newest);
  if (tail.phase === 'opening') {
    assertUnsealed(volume, tail.next, tail.closing?.epoch ?? newest);
    if (tail.closing !== null) {
      assertUnsealed(volume, tail.closing, newest);
      rule(volume, tail.closing.writer === tail.next.writer, 'a roll cannot change the writer');
    }
  }
  if (tail.phase === 'deleting') {
    rule(volume, volume.attachments.length === 0, 'a deleted volume is attached');
    rule(volume, volume.chain.length === 0, 'a deleted volume has a chain');
  }
  nothingWrong(volume, wrongSizes(volume));
  nothingWrong(volume, wrongMarks(volume));
}

function assertUnsealed(volume: Volume, layer: UnsealedLayer, above: number): void {
  rule(volume, layer.epoch > above, `epoch ${layer.epoch} is not above ${above}`);
  rule(volume, layer.epoch <= volume.epoch, `epoch ${layer.epoch} is above the record's`);
  rule(volume, layer.members[0]?.node === layer.writer, 'the writer is not the first member');
  const nodes = layer.members.map((m) => m.node);
  rule(volume, new Set(nodes).size === nodes.length, 'the write set lists a node twice');
}

/** Checks a step from one record to the next. @throws `rule-broken` */
export function assertStep(before: Volume, after: Volume): void {
  assertRecord(after);
  rule(after, after.id === before.id, 'identity changed');
  rule(after, after.epoch >= before.epoch, 'the epoch went back');
  assertTailStep(before, after);
  assertSealedKept(before, after);
  nothingWrong(after, wrongGrowth(before, after));
  nothingWrong(after, lostMarks(before, after));
  const decisions = before.losses ?? [];
  rule(
    after,
    JSON.stringify(after.losses?.slice(0, decisions.length) ?? []) === JSON.stringify(decisions),
    'a decision of an operator was forgotten or changed',
  );
}

/** Rules 2, 10, 11: a layer is served only after a prepare that named it, and never changes. */
function assertTailStep(before: Volume, after: Volume): void {
  const from = before.tail;
  const to = after.tail;
  if (to.phase === 'open') {
    const same = from.phase === 'open' && from.layer.id === to.layer.id;
    const confirmed = from.phase === 'opening' && from.next.id === to.layer.id;
    rule(after, same || confirmed, 'a layer was opened without having been prepared (rule 10)');
    const was = from.phase === 'open' ? from.layer : from.phase === 'opening' ? from.next : null;
    rule(
      after,
      JSON.stringify(was) === JSON.stringify(to.layer),
      'the write set of a layer changed without a new epoch (rule 2)',
    );
  }
  if (from.phase === 'deleting') {
    rule(after, to.phase === 'deleting', 'a deleted volume came back');
  }
  const open = from.phase === 'open' ? from.layer : from.phase === 'opening' ? from.closing : null;
  const unsealed = open ?? (from.phase === 'fencing' ? from.unsealed : null);
  if (unsealed !== null && to.phase !== 'deleting') {
    const still =
      (to.phase === 'open' && to.layer.id === unsealed.id) ||
      (to.phase === 'opening' && to.closing?.id === unsealed.id) ||
      (to.phase === 'fencing' && to.unsealed.id === unsealed.id);
    const sealed = after.chain.at(-1)?.id === unsealed.id;
    const given = from.phase === 'fencing' && isGivenUp(before, after, unsealed.id);
    const deleted = becameBase(before, after);
    rule(
      after,
      still || sealed || given || deleted,
      `layer ${unsealed.epoch} vanished without being sealed`,
    );
    rule(
      after,
      !(from.phase === 'fencing' && to.phase === 'open'),
      'a take-over must seal before anything opens (rule 3)',
    );
  }
}

/** Rules 4, 7, 16: a sealed layer stays as it is, or is exchanged for a merge that covers it. */
function assertSealedKept(before: Volume, after: Volume): void {
  if (after.tail.phase === 'deleting') return;
  for (const layer of before.chain) {
    const kept = after.chain.find((l) => l.id === layer.id);
    if (kept === undefined) {
      const merged = before.merge?.layers.includes(layer.id) === true;
      const into = after.chain.find((l) => l.id === before.merge?.into);
      if (isGivenUp(before, after, layer.id) || isUnmade(before, after, layer.id)) continue;
      rule(after, merged && into !== undefined, `sealed layer ${layer.epoch} vanished (rule 4)`);
      continue;
    }
    // An operator decided, with this step, to believe another copy.
    if (decidedNow(before, after)?.believed.some((b) => b.layer === layer.id) === true) continue;
    rule(
      after,
      kept.epoch === layer.epoch &&
        kept.sizeBytes === layer.sizeBytes &&
        (kept.authority === layer.authority || layer.restoring !== undefined) &&
        (kept.restoring === undefined || layer.restoring !== undefined) &&
        (layer.manifest === null || kept.manifest === layer.manifest),
      `sealed layer ${layer.epoch} changed (rule 4)`,
    );
    for (const { node, pool } of cleanReplicas(layer)) {
      const now = replicaOn(kept, node);
      if (now === undefined || now.pool !== pool || now.state === 'clean') continue;
      rule(
        after,
        now.state === 'unverified' && now.damage !== undefined && soundReplicas(kept).length > 0,
        `the copy of layer ${layer.epoch} on ${node} is doubted without damage or a better one (rule 7)`,
      );
    }
  }
}

/** True when the volume was made what it was at a snapshot, or deleted but for what clones see. */
function isUnmade(before: Volume, after: Volume, layer: string): boolean {
  const place = placeOf(before, layer);
  return (isRevert(before, after) || becameBase(before, after)) && place >= after.chain.length;
}

/** True when an operator decided, with this very step, to go on without the layer. */
function isGivenUp(before: Volume, after: Volume, layer: string): boolean {
  return decidedNow(before, after)?.dropped.some((d) => d.layer === layer) === true;
}

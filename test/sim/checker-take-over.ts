import { unsealedLayer } from '../../src/volume/queries.ts';
import type { Volume } from '../../src/volume/types.ts';
import { type Checks, short } from './checker-known.ts';

/**
 * Nobody is taken over from who serves, has its lease, and lives in the boot in which it began: only a
 * writer itself may give its volume up, and it ends its head before.
 */
export function checkTakeOver(checker: Checks, previous: Volume, next: Volume): void {
  if (previous.tail.phase === 'fencing' || next.tail.phase !== 'fencing') return;
  const layer = unsealedLayer(previous);
  if (layer === null) return;
  const { writer, id, members } = layer;
  const boot = members.find((m) => m.node === writer)?.boot;
  if (checker.leaseBoot(writer) !== boot) return;
  const serves = checker
    .heads()
    .some(({ machine, spec }) => machine.name === writer && spec.open.layer.layer === id);
  if (!serves) return;
  checker.fail(
    `${short(next.id)} is taken over from ${writer}, which lives and serves it (rule 6)`,
  );
}

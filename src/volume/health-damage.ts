import { lostRanges, soundReplicas, totalBytes } from './damage.ts';
import { listed } from './health-text.ts';
import type { Finding, ReportContext } from './health-types.ts';
import type { SealedLayer } from './types.ts';

/**
 * Damage that is read because no better copy is alive: at most one finding a layer. A damaged copy
 * that is not read any more is only one that is missing for a while.
 */
export function damageFindings(
  { problem, called }: ReportContext,
  layer: SealedLayer,
  number: number,
): Finding[] {
  const damaged = layer.replicas.filter((r) => r.state === 'clean' && r.damage !== undefined);
  const [worst] = damaged;
  if (worst?.damage === undefined) return [];
  const away = soundReplicas(layer).filter((r) => problem(r) !== null);
  const lost = away.length === 0 ? totalBytes(lostRanges(layer)) : 0;
  const { bytes, foundAt } = worst.damage;
  const verify = `hscli volume verify ${called}`;
  return [
    {
      severity: lost > 0 ? 'unavailable' : 'at-risk',
      what:
        lost > 0
          ? `Layer ${number} is damaged: ${lost} bytes of its file are right on no node.`
          : `The last clean copy of layer ${number} is damaged: ${bytes} bytes on ${worst.node}.`,
      why: `The disk returned something else than was sealed, found ${foundAt}. The copy is kept and read as it is: there is no better one.`,
      action:
        away.length > 0
          ? `Bring ${listed(away.map((r) => r.node))} back: the copy there is good, and this one is mended from it.`
          : lost > 0
            ? `Restore what is lost from a backup; which parts: ${verify}`
            : 'Nothing to do: what other copies have right is taken from them.',
      progress: null,
    },
  ];
}

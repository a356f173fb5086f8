import { damageFindings } from './health-damage.ts';
import { sealedFindings } from './health-sealed.ts';
import type { Finding, ReportContext, WorkView } from './health-types.ts';
import type { SeenLayer } from './lineage.ts';
import { calledIn } from './marks.ts';

/**
 * What is wrong with the layers that a clone shows of the records below it. It needs as many copies of
 * them as its own policy asks for; what is to be done about one is done to the record that has it.
 * @param below null: not all of these records are known.
 */
export function belowFindings(
  context: ReportContext,
  work: readonly WorkView[],
  below: readonly SeenLayer[] | null,
): Finding[] {
  if (below === null) {
    const { parent } = context.volume;
    return [
      {
        severity: 'unavailable',
        what: 'What the volume was cloned from is not known here.',
        why: `Its first layers belong to ${parent?.volume}, and not all of its records were found.`,
        action: 'Nothing to do when it was cloned just now; else: hscli cluster fsck',
        progress: null,
      },
    ];
  }
  return below.flatMap(({ home, layer }, index) => {
    const of: ReportContext = {
      ...context,
      called: calledIn(home),
      work: work.filter((item) => item.volume === home.id),
    };
    return [...damageFindings(of, layer, index + 1), ...sealedFindings(of, layer, index + 1)];
  });
}

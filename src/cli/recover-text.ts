import type { RecoveryAnswer } from '../api/recover-schemas.ts';
import { type Column, formatList, table } from './format.ts';

type VolumeLine = RecoveryAnswer['volumes'][number];

const outcomes: Record<VolumeLine['outcome'], string> = {
  exact: 'restored exactly',
  'in-doubt': 'restored, copies are compared',
  loss: 'restored, writes may be lost',
  impossible: 'cannot be restored',
  gone: 'was deleted, is removed',
};

const columns: Column<VolumeLine>[] = [
  { title: 'NAME', value: (v) => v.name },
  { title: 'EPOCH', value: (v) => String(v.epoch), right: true },
  { title: 'FOUND', value: (v) => (v.from === null ? 'in the store' : `on ${v.from}`) },
  { title: 'OUTCOME', value: (v) => (v.unchanged ? 'stays as it is' : outcomes[v.outcome]) },
];

/** What would be done, volume by volume, and what is to be known before. */
export async function planText(answer: RecoveryAnswer): Promise<string> {
  const { volumes, nodes, findings, losses, refused } = answer;
  const notes = volumes.flatMap((v) => v.notes.map((note) => `- volume ${v.name}: ${note}\n`));
  return [
    await table(volumes, columns, 'No node keeps the record of any volume.'),
    `\nNodes: ${formatList(nodes)}\n`,
    ...notes,
    ...findings.map((finding) => `- ${finding}\n`),
    losses.length === 0 ? '' : '\nAcknowledged writes may be lost:\n',
    ...losses.map((loss) => `- ${loss}\n`),
    refused === null ? '' : `\nNothing can be done: ${refused}\n`,
  ].join('');
}

/** How it ended. */
export async function recoveryText(answer: RecoveryAnswer): Promise<string> {
  if (answer.needless) return 'Every node that answers believes the store: nothing to recover.\n';
  if (!answer.done) {
    return `${await planText(answer)}\nNothing was changed.\n`;
  }
  const lost = answer.failed.map(
    ({ node, why }) => `- ${node} could not be told (${why}): run this again when it answers\n`,
  );
  const restored = answer.volumes.filter((v) => v.outcome !== 'impossible' && v.outcome !== 'gone');
  return [
    `${restored.length} of ${answer.volumes.length} volumes are restored; `,
    `${formatList(answer.accepted)} ${answer.accepted.length === 1 ? 'works' : 'work'} with them.\n`,
    ...lost,
  ].join('');
}

import type { Command } from 'commander';
import type { FsckAnswer } from '../api/operator-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { contextOf, type Io } from './context.ts';
import { printable } from './format.ts';

/** A check of a large cluster, with a second look, repairs, and a check of these. */
const waitSeconds = 600;

/** `hscli cluster fsck`. */
export function fsckCommand(cluster: Command, io: Io): void {
  cluster
    .command('fsck')
    .description('compare the records with what is on disk and running on every node')
    .option('--repair', 'repair what is safe to repair; nothing is ever deleted')
    .option('--volume <volume>', 'check this volume alone')
    .addHelpText(
      'after',
      '\nExit status: 0 when at most notes are left, 10 when errors or warnings are.\n' +
        '\nExamples:\n  hscli cluster fsck\n  hscli cluster fsck --volume db1 --repair',
    )
    .action(async (options: { repair?: boolean; volume?: string }, command: Command) => {
      const context = contextOf(io, command, waitSeconds);
      const { volume, repair } = options;
      const answer = await context.client.fsck({
        ...(volume === undefined ? {} : { volume }),
        ...(repair === true ? { repair } : {}),
      });
      await context.print(answer, fsckText);
      throwUnlessClean(answer, repair === true);
    });
}

function fsckText(answer: FsckAnswer): string {
  const { nodes, volumes, files, findings, repaired } = answer;
  const lines = [
    `Checked: ${volumes} ${volumes === 1 ? 'record' : 'records'} and ${files} files on ${nodes.join(', ') || 'no node'}`,
  ];
  if (repaired.length > 0) lines.push('', 'Repaired:', ...repaired.map((text) => `- ${text}`));
  if (findings.length > 0) lines.push('', repaired.length > 0 ? 'Left:' : 'Findings:');
  for (const { severity, what, why, action, repair } of findings) {
    const hint = repair === 'safe' ? ' [safe: --repair does it]' : '';
    lines.push(`- ${severity.toUpperCase()}: ${what}`, `    why: ${why}`, `    ${action}${hint}`);
  }
  if (findings.length === 0) lines.push('', 'Everything is as the records say.');
  return `${lines.map(printable).join('\n')}\n`;
}

function throwUnlessClean({ findings }: FsckAnswer, repaired: boolean): void {
  const count = (severity: string) => findings.filter((f) => f.severity === severity).length;
  const [errors, warnings] = [count('error'), count('warning')];
  if (errors + warnings === 0) return;
  const safe = findings.some((f) => f.repair === 'safe');
  throw new HyperscaleError(
    'inconsistent',
    `${errors} ${errors === 1 ? 'error' : 'errors'} and ${warnings} ${warnings === 1 ? 'warning' : 'warnings'} are left`,
    {
      hint:
        safe && !repaired
          ? 'What is marked safe is repaired by --repair.'
          : 'Each finding says what to do.',
      values: { errors, warnings },
    },
  );
}

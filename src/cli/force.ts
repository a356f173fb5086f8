import type { Command } from 'commander';
import type { LossAnswer } from '../api/operator-schemas.ts';
import { askForName } from './confirm.ts';
import { contextOf, type Io } from './context.ts';
import { printable } from './format.ts';

const waitSeconds = 120;

/** Who runs the command, for the record of a decision. */
export function operatorName(env: Io['env']): string {
  const name = env.SUDO_USER ?? env.USER ?? env.LOGNAME ?? 'root';
  return printable(name).slice(0, 63) || 'root';
}

/** `hscli volume force`. */
export function forceCommand(volume: Command, io: Io): void {
  volume
    .command('force')
    .description('go on without data that cannot be reached; says first what would be lost')
    .argument('<volume>', 'name or id of the volume')
    .option('--dry-run', 'only say what would be lost')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nFor a volume that is unavailable because nodes are gone for good. Refused when nothing would\n' +
        'be lost, and when nothing is left to go back to. It cannot be undone.\n' +
        '\nExamples:\n  hscli volume force db1 --dry-run\n  hscli volume force db1',
    )
    .action(
      async (name: string, options: { yes?: boolean; dryRun?: boolean }, command: Command) => {
        const context = contextOf(io, command, waitSeconds);
        const loss = await context.client.loss(name);
        if (options.dryRun === true) return context.print(loss, lossText);
        if (!context.json) io.stderr.write(lossText(loss));
        if (options.yes !== true) {
          await askForName(context, {
            name: loss.name,
            question: `Type ${loss.name} to give this up:`,
            nobody: `nobody can be asked whether to give up data of ${loss.name}`,
            hint: 'Look at it with --dry-run; say --yes to do it without being asked.',
            refused: 'that was not its name; nothing was given up',
          });
        }
        // Exactly what was shown, and of this volume: its name may be another's by now.
        const forced = await context.client.force(loss.volume, {
          believed: loss.believed.map(({ layer, node }) => ({ layer, node })),
          dropped: loss.dropped.map(({ layer }) => layer),
          by: operatorName(io.env),
        });
        await context.print(
          forced,
          (v) => `Volume ${v.name} goes on without. Use it: hscli volume attach ${v.name}\n`,
        );
      },
    );
}

function lossText({ name, lost, before }: LossAnswer): string {
  const lines = [
    `What going on with ${name} now would mean:`,
    ...lost.map((text) => `- ${text}`),
    '',
    'Before you do it:',
    ...before.map((text) => `- ${text}`),
    '',
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

import type { Command } from 'commander';
import type { RemovalAnswer, RemovedAnswer } from '../api/operator-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { askForName } from './confirm.ts';
import { contextOf, type Io } from './context.ts';
import { operatorName } from './force.ts';
import { formatList, printable } from './format.ts';

const waitSeconds = 120;

type Options = { yes?: boolean; acceptDataLoss?: boolean };

/** `hscli node remove`. */
export function removeCommand(node: Command, io: Io): void {
  node
    .command('remove')
    .description('take a node that is gone for good out of the cluster')
    .argument('<name>', 'name of the node; it must be down')
    .option('--accept-data-loss', 'also when it holds data that is nowhere else')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nIts pool can never come back. Its name is free again, with a new pool.\n' +
        '\nExamples:\n  hscli node remove n4\n  hscli node remove n4 --accept-data-loss',
    )
    .action(async (name: string, options: Options, command: Command) => {
      const context = contextOf(io, command, waitSeconds);
      const removal = await context.client.removal(name);
      const acceptDataLoss = options.acceptDataLoss === true;
      if (removal.losses.length > 0 && !acceptDataLoss) throw refusal(removal);
      if (!context.json) io.stderr.write(removalText(removal));
      if (options.yes !== true) {
        await askForName(context, {
          name,
          question: `Type ${name} to remove it for ever:`,
          nobody: `nobody can be asked whether to remove node ${name}`,
          hint: 'Say --yes to remove it without being asked.',
          refused: 'that was not its name; nothing was removed',
        });
      }
      const by = operatorName(io.env);
      await context.print(await context.client.removeNode(name, { acceptDataLoss, by }), doneText);
    });
}

function refusal({ node, losses }: RemovalAnswer): HyperscaleError {
  const list = losses.map((l) => `${l.volume}: ${l.why}`).join('; ');
  return new HyperscaleError(
    'not-allowed',
    `node ${node} holds data that is nowhere else: ${list}`,
    {
      hint: `Bring it back and let its data be copied. If it is gone for good: hscli node remove ${node} --accept-data-loss`,
      values: { node, losses },
    },
  );
}

function removalText({ node, pool, volumes, losses }: RemovalAnswer): string {
  const lines = [
    `Node ${node} and its pool ${pool} are taken out for ever; its copies are made anew elsewhere.`,
    `Volumes with anything there: ${formatList(volumes)}`,
    ...losses.map((l) => `LOST: data of ${l.volume}: ${l.why}`),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

function doneText({ node, lost }: RemovedAnswer): string {
  const rest = lost.map(
    (name) =>
      `Nothing is left of volume ${name}. To remove its record: hscli volume delete ${name}\n`,
  );
  return `Node ${node} is removed.\n${rest.join('')}`;
}

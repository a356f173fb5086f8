import type { Command } from 'commander';
import { contextOf, type Io } from '../context.ts';
import { table } from '../format.ts';

export function policyCommands(program: Command, io: Io): void {
  const policy = program.command('policy').description('what volumes can ask for');
  policy
    .command('list')
    .description('all policies')
    .addHelpText('after', '\nExample:\n  hscli policy list')
    .action(async (_options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.policies(), ({ policies }) =>
        table(
          policies,
          [
            { title: 'NAME', value: (p) => p.name },
            { title: 'COPIES', value: (p) => String(p.copies), right: true },
            { title: 'REFLECTIONS', value: (p) => String(p.reflections), right: true },
            { title: 'MAX IOPS', value: (p) => String(p.maxIops), right: true },
            { title: 'MAX LAYERS', value: (p) => String(p.maxLayers), right: true },
          ],
          'No policies.',
        ),
      );
    });
}

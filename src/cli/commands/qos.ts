import type { Command } from 'commander';
import type { LimitsAnswer } from '../../api/qos-schemas.ts';
import { limitsText } from '../../volume/limits-text.ts';
import { contextOf, type Io } from '../context.ts';
import { givenLimits, type LimitOptions, limitOptions } from '../limit-options.ts';

/** `hscli volume qos`. */
export function qosCommand(volume: Command, io: Io): void {
  const command = volume
    .command('qos')
    .description('show what a volume may do, or change it while it is in use')
    .argument('<volume>', 'name or id of the volume');
  limitOptions(command)
    .option('--policy <policy>', 'take the limits of this policy first; its copies are not taken')
    .addHelpText(
      'after',
      '\nAll consumers of the volume share the limits. What is not named stays as it is.\n' +
        '\nExamples:\n  hscli volume qos db1\n' +
        '  hscli volume qos db1 --max-iops 2000 --max-bandwidth 200M\n' +
        '  hscli volume qos db1 --burst-iops 8000 --burst-seconds 30\n' +
        '  hscli volume qos db1 --max-bandwidth none\n  hscli volume qos db1 --policy Silver',
    )
    .action(async (name: string, options: LimitOptions & { policy?: string }) => {
      const { client, print } = contextOf(io, command);
      const { policy } = options;
      const change = { ...givenLimits(options), ...(policy === undefined ? {} : { policy }) };
      const asks = Object.keys(change).length === 0;
      await print(asks ? await client.limits(name) : await client.setLimits(name, change), (now) =>
        text(name, now),
      );
    });
}

function text(name: string, limits: LimitsAnswer): string {
  const whose = limits.from === 'policy' ? 'limits of its policy' : 'limits of its own';
  return `Volume ${name} may do ${limitsText(limits)} (${whose}).\n`;
}

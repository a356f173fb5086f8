import type { Command } from 'commander';
import { contextOf, type Io } from '../context.ts';

type DeviceOptions = { node?: string; name?: string; remove?: true; force?: true };

/** `hscli volume device`. */
export function deviceCommand(volume: Command, io: Io): void {
  volume
    .command('device')
    .description('make an attached volume a block device of its node and print its path')
    .argument('<volume>', 'name or id of the volume')
    .option('--node <node>', 'the node where it is attached (default: this one)')
    .option('--name <name>', 'also make a link of that name in deviceDirectory, and print that')
    .option('--remove', 'take the device away; none is no error')
    .option('--force', 'with --remove: also while it is in use; its users get I/O errors')
    .addHelpText(
      'after',
      '\nThe volume must be attached there. Again prints the same. A device that is mounted or open is\n' +
        'not taken away (exit status 5, saying who uses it), neither is its attachment.\n' +
        '\nExamples:\n  mkfs.ext4 "$(hscli volume device db1)"\n' +
        '  hscli volume device db1 --node n2 --name db1\n' +
        '  hscli volume device db1 --remove',
    )
    .action(async (name: string, options: DeviceOptions, command: Command) => {
      const context = contextOf(io, command);
      const host = options.node ?? (await context.client.thisNode());
      if (options.remove === true) {
        await context.client.removeDevice(name, host, options.force === true);
        const text = `${name} is no block device on ${host}.\n`;
        await context.print({ volume: name, host }, () => text);
        return;
      }
      const made = await context.client.makeDevice(name, host, options.name);
      await context.print(made, ({ device, link }) => `${link ?? device}\n`);
    });
}

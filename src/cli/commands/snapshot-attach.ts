import type { Command } from 'commander';
import { HyperscaleError } from '../../errors.ts';
import { contextOf, type Io } from '../context.ts';

const which = ['<volume@snapshot>', 'names or ids of both: db1@before-upgrade'] as const;

/** `hscli snapshot attach` and `detach`. */
export function snapshotAttachCommands(snapshot: Command, io: Io): void {
  snapshot
    .command('attach')
    .description('make a snapshot readable on a node and print its NBD URI; again is no error')
    .argument(...which)
    .option('--node <node>', 'the node of the reader (default: this one)')
    .addHelpText(
      'after',
      '\nNothing is copied, and nobody can write to it. It stays until it is detached, its node has\n' +
        'rebooted, or is gone.\n' +
        '\nExamples:\n  hscli snapshot attach db1@before-upgrade\n' +
        '  qemu-img convert -f raw -O qcow2 "$(hscli snapshot attach db1@monday)" monday.qcow2',
    )
    .action(async (of: string, { node }: { node?: string }, command: Command) => {
      const { volume, name } = parts(of);
      const { client, print } = contextOf(io, command);
      const endpoint = await client.attachSnapshot(volume, name, node);
      await print(endpoint, ({ uri }) => `${uri}\n`);
    });
  snapshot
    .command('detach')
    .description('end that on a node; what is not attached is no error')
    .argument(...which)
    .option('--node <node>', 'the node of the reader (default: this one)')
    .addHelpText('after', '\nExample:\n  hscli snapshot detach db1@before-upgrade --node n2')
    .action(async (of: string, { node }: { node?: string }, command: Command) => {
      const { volume, name } = parts(of);
      const { client, print } = contextOf(io, command);
      const host = node ?? (await client.thisNode());
      await client.detachSnapshot(volume, name, host);
      await print(
        { volume, snapshot: name, host },
        () => `Snapshot ${name} of ${volume} is not attached on ${host}.\n`,
      );
    });
}

/** @throws `bad-input` */
function parts(of: string): { volume: string; name: string } {
  const [volume, name, ...more] = of.split('@');
  if (volume && name && more.length === 0) return { volume, name };
  throw new HyperscaleError('bad-input', `${JSON.stringify(of)} is not a snapshot of a volume`, {
    hint: 'Give both: VOLUME@SNAPSHOT.',
  });
}

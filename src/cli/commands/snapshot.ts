import type { Command } from 'commander';
import type { VolumeAnswer } from '../../api/schemas.ts';
import type { SnapshotAnswer } from '../../api/snapshot-schemas.ts';
import { askForName } from '../confirm.ts';
import { contextOf, type Io } from '../context.ts';
import { fields, formatList, formatTime } from '../format.ts';
import { formatBytes } from '../size.ts';
import { snapshotAttachCommands } from './snapshot-attach.ts';
import { snapshotGroupCommand } from './snapshot-group.ts';
import { snapshotListCommand } from './snapshot-list.ts';

const volumeArgument = ['<volume>', 'name or id of the volume'] as const;
const snapshotArgument = ['<snapshot>', 'name or id of the snapshot'] as const;

/** `hscli snapshot`. */
export function snapshotCommands(program: Command, io: Io): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshots: what volumes held at a moment, kept by name');
  snapshot
    .command('create')
    .description('keep what a volume holds now, while it is used; nothing is copied')
    .argument(...volumeArgument)
    .argument('[name]', 'a name for it (default: the time)')
    .addHelpText(
      'after',
      '\nIt shows what was acknowledged before the call, like a disk after a power cut; for more, let\n' +
        'the guest flush or freeze its file systems first.\n' +
        '\nExamples:\n  hscli snapshot create db1\n  hscli snapshot create db1 before-upgrade',
    )
    .action(async (volume: string, name: string | undefined, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(
        await context.client.createSnapshot(volume, name),
        (made) => `Snapshot ${made.name} of ${volume} is kept.\n`,
      );
    });
  snapshotGroupCommand(snapshot, io);
  snapshotListCommand(snapshot, io);
  snapshot
    .command('show')
    .description('one snapshot')
    .argument(...volumeArgument)
    .argument(...snapshotArgument)
    .addHelpText('after', '\nExample:\n  hscli snapshot show db1 before-upgrade')
    .action(async (volume: string, name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      const answer = await context.client.snapshot(volume, name);
      await context.print(answer, (shown) => snapshotText(volume, shown));
    });
  snapshot
    .command('delete')
    .description('delete a snapshot; what only it held becomes free in the background')
    .argument(...volumeArgument)
    .argument(...snapshotArgument)
    .addHelpText(
      'after',
      '\nThe volume, its other snapshots and clones stay what they are. A snapshot that is not there is\n' +
        'no error.\n\nExample:\n  hscli snapshot delete db1 before-upgrade',
    )
    .action(async (volume: string, name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.client.deleteSnapshot(volume, name);
      await context.print(
        { volume, deleted: name },
        () => `Snapshot ${name} of ${volume} is deleted.\n`,
      );
    });
  protectCommand(snapshot, io, true);
  protectCommand(snapshot, io, false);
  revertCommand(snapshot, io);
  snapshotAttachCommands(snapshot, io);
}

function protectCommand(snapshot: Command, io: Io, isProtected: boolean): void {
  const verb = isProtected ? 'protect' : 'unprotect';
  snapshot
    .command(verb)
    .description(isProtected ? 'let nobody delete a snapshot' : 'let it be deleted again')
    .argument(...volumeArgument)
    .argument(...snapshotArgument)
    .addHelpText('after', `\nExample:\n  hscli snapshot ${verb} db1 before-upgrade`)
    .action(async (volume: string, name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      const changed = await context.client.protectSnapshot(volume, name, isProtected);
      await context.print(changed, (shown) =>
        shown.protected
          ? `Snapshot ${shown.name} of ${volume} cannot be deleted now.\n`
          : `Snapshot ${shown.name} of ${volume} can be deleted now.\n`,
      );
    });
}

function revertCommand(snapshot: Command, io: Io): void {
  snapshot
    .command('revert')
    .description('make a volume what it was at a snapshot; what was written since is gone')
    .argument(...volumeArgument)
    .argument(...snapshotArgument)
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nThe snapshot must be the newest of the volume; it stays. Nothing may be connected to the volume: shut\n' +
        'its guest off. Where it is attached it is attached again, under another URI. To look at an older\n' +
        'state, or to keep both, clone it: hscli volume clone db1@before-upgrade db2\n' +
        '\nExample:\n  hscli snapshot revert db1 before-upgrade',
    )
    .action(async (volume: string, name: string, options: { yes?: boolean }, command: Command) => {
      const context = contextOf(io, command);
      let which = { volume, snapshot: name };
      if (options.yes !== true) {
        const found = await context.client.volume(volume);
        const point = await context.client.snapshot(found.id, name);
        await askForName(context, {
          name: found.name,
          question: `All that was written to ${found.name} since ${formatTime(point.createdAt)} will be gone. Type its name to revert it:`,
          nobody: `nobody can be asked whether to revert ${found.name}`,
          hint: 'Say --yes to revert it without being asked.',
          refused: 'that was not its name; nothing was reverted',
        });
        // What was confirmed is reverted, not what may have these names by now.
        which = { volume: found.id, snapshot: point.id };
      }
      await context.print(await context.client.revert(which.volume, which.snapshot), (v) =>
        revertedText(v, name),
      );
    });
}

function revertedText({ name, sizeBytes, attachments }: VolumeAnswer, snapshot: string): string {
  const done = `Volume ${name} (${formatBytes(sizeBytes)}) is what it was at ${snapshot}.\n`;
  const uris = attachments.map(
    ({ host }) =>
      `Its URI on ${host} is another one now: hscli volume attach ${name} --node ${host}\n`,
  );
  return done + uris.join('');
}

function snapshotText(volume: string, snapshot: SnapshotAnswer): string {
  return fields([
    ['Name', snapshot.name],
    ['Id', snapshot.id],
    ['Volume', volume],
    ['Created', formatTime(snapshot.createdAt)],
    ['Size', formatBytes(snapshot.sizeBytes)],
    ['Held', snapshot.bytes === null ? 'not known yet' : formatBytes(snapshot.bytes)],
    ['Protected', snapshot.protected ? 'yes: it cannot be deleted' : 'no'],
    ['Attached', formatList(snapshot.attachedOn)],
    ['Clones', formatList(snapshot.clones)],
  ]);
}

import type { Command } from 'commander';
import type { AdoptedVolumeAnswer } from '../../api/image-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { askForName } from '../confirm.ts';
import { contextOf, type Io } from '../context.ts';
import { type ExportOptions, exportOptions, exportTo, printExported } from '../export.ts';
import { type ImportOptions, importFrom } from '../import.ts';
import { formatBytes } from '../size.ts';
import { importOptions } from './image.ts';

const which = ['<volume>', 'name or id of the volume'] as const;

/** `hscli volume export`, `adopt` and `release`: volumes from files, and files from volumes. */
export function volumeFileCommands(volume: Command, io: Io): void {
  exportCommand(volume, io);
  adoptCommand(volume, io);
  releaseCommand(volume, io);
}

function exportCommand(volume: Command, io: Io): void {
  const command = volume
    .command('export')
    .description('write a volume or a snapshot to a file or to standard output')
    .argument(...which)
    .option('--snapshot <snapshot>', 'what it was then (default: what it is now)');
  exportOptions(command)
    .addHelpText(
      'after',
      '\nA volume in use may be exported: the file holds what it was at one moment, as after a power\n' +
        'cut of its machine. Waits for ever unless --timeout says how long.\n' +
        '\nExamples:\n  hscli volume export db1 --to db1.qcow2 --format qcow2\n' +
        '  hscli volume export db1 --snapshot monday --to - | zstd > db1.img.zst',
    )
    .action(async (name: string, options: ExportOptions & { snapshot?: string }) => {
      const context = contextOf(io, command, 0);
      const { id } = await context.client.volume(name);
      const what = { id, name, snapshot: options.snapshot ?? null };
      await printExported(context, await exportTo(io, command, what, options));
    });
}

function adoptCommand(volume: Command, io: Io): void {
  const command = volume
    .command('adopt')
    .description('make a volume of a file, which stays as it is')
    .argument('<from>', 'a file, http(s)://…, or - for standard input')
    .option('--name <name>', 'a new name (default: that of the file)');
  importOptions(command)
    .addHelpText(
      'after',
      '\nThe file is refused when an image would be (hscli image import --help), and must not be in use.\n' +
        '\nExamples:\n  hscli volume adopt /var/lib/libvirt/images/db1.qcow2 --policy Gold\n' +
        '  hscli volume adopt disk.img --name db2 --format raw',
    )
    .action(async (from: string, options: ImportOptions) => {
      const context = contextOf(io, command, 0);
      const made = await importFrom(context, from, options, (wishes, file) =>
        context.client.adoptVolume(wishes, file),
      );
      await context.print(made, adoptedText);
    });
}

function releaseCommand(volume: Command, io: Io): void {
  const command = volume
    .command('release')
    .description('hand a volume back as a file: export it, then delete it')
    .argument(...which);
  exportOptions(command)
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nThe volume must not be attached, and is deleted only when the whole file is on stable storage.\n' +
        '\nExample:\n  hscli volume release db1 --to /srv/db1.qcow2 --format qcow2',
    )
    .action(async (name: string, options: ExportOptions & { yes?: true }) => {
      const context = contextOf(io, command, 0);
      const found = await context.client.volume(name);
      mustBeFree(found, options.to);
      if (options.yes !== true) {
        await askForName(context, {
          name: found.name,
          question: `${found.name} will be deleted when it is in ${options.to}. Type its name to release it:`,
          nobody: `nobody can be asked whether to delete ${found.name}`,
          hint: 'Say --yes to release it without being asked.',
          refused: 'that was not its name; nothing was done',
        });
      }
      const what = { id: found.id, name: found.name, snapshot: null };
      const answer = await exportTo(io, command, what, options);
      unchanged(found, await context.client.volume(found.id));
      await context.client.delete(found.id);
      await context.print(
        { ...answer, deleted: found.name },
        ({ to, format }) => `${found.name} is in ${to}, as ${format}; the volume is deleted.\n`,
      );
    });
}

type Found = { name: string; epoch: number; attachments: { host: string }[] };

function mustBeFree({ name, attachments }: Found, to: string): void {
  const [first] = attachments;
  if (first !== undefined) {
    throw new HyperscaleError('in-use', `volume ${name} is attached on ${first.host}`, {
      hint: `Detach it first: hscli volume detach ${name} --node ${first.host}`,
    });
  }
  if (to === '-') {
    throw new HyperscaleError('bad-input', 'a volume is not released to standard output', {
      hint: 'Nobody knows there whether all of it arrived. Give a file, or use hscli volume export.',
    });
  }
}

/** Whoever attached it meanwhile may have written what the file does not have. */
function unchanged(before: Found, now: Found): void {
  if (now.epoch === before.epoch && now.attachments.length === 0) return;
  throw new HyperscaleError('conflict', `volume ${before.name} was attached meanwhile`, {
    hint: 'It was not deleted, and its file may lack what was written since. Release it again.',
  });
}

function adoptedText({ volume, notes }: AdoptedVolumeAnswer): string {
  const ready = `Volume ${volume.name} (${formatBytes(volume.sizeBytes)}, ${volume.policy.name}) is ready.`;
  return `${[ready, ...notes].join('\n')}\n`;
}

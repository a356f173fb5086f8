import type { Command } from 'commander';
import type { ImageAnswer, ImportedImageAnswer } from '../../api/image-schemas.ts';
import { askForName } from '../confirm.ts';
import { contextOf, type Io } from '../context.ts';
import { type ExportOptions, exportOptions, exportTo, printExported } from '../export.ts';
import { type Column, fields, formatList, formatTime, table } from '../format.ts';
import { type ImportOptions, importFrom } from '../import.ts';
import { type ListOptions, listQuery, moreText, pageOptions, wholeList } from '../list-options.ts';
import { formatBytes } from '../size.ts';
import { imagePruneCommand } from './image-prune.ts';

const columns: Column<ImageAnswer>[] = [
  { title: 'NAME', value: (i) => i.name },
  { title: 'SIZE', value: (i) => formatBytes(i.sizeBytes), right: true },
  { title: 'TAKES', value: (i) => formatBytes(i.bytes), right: true },
  { title: 'STATE', value: (i) => i.state },
  { title: 'FORMAT', value: (i) => i.format ?? '-' },
  { title: 'COPIES ON', value: (i) => formatList(i.copies.map(({ node }) => node)) },
  { title: 'VOLUMES', value: (i) => String(i.clones), right: true },
  { title: 'ID', value: (i) => i.id },
];

const which = ['<image>', 'name or id of the image'] as const;

/** What a file is and how it is to be taken; also for a volume that is made of one. */
export function importOptions(command: Command): Command {
  return command
    .option(
      '--format <format>',
      'what the file is: raw, qcow2, vmdk, vhd or vhdx (default: a look)',
    )
    .option('--checksum <sum>', 'sha256:HEX that the file must have')
    .option('--policy <policy>', 'Gold (3 copies), Silver (2, default) or Bronze (1)')
    .option('--max-size <size>', 'refuse what shows more than this: 100G');
}

/** `hscli image …`. */
export function imageCommands(program: Command, io: Io): void {
  const image = program.command('image').description('images, from which volumes are made');
  const imported = image
    .command('import')
    .description('make an image of a file, a URL or standard input')
    .argument('<from>', 'a file, http(s)://…, or - for standard input')
    .option('--name <name>', 'a new name (default: that of the file)');
  importOptions(imported)
    .addHelpText(
      'after',
      '\nRefused is what names other files, is encrypted, damaged or cut short. Ctrl-C cancels.\n' +
        'Waits for ever unless --timeout says how long.\n' +
        '\nExamples:\n  hscli image import debian-13.qcow2\n' +
        '  hscli image import https://example.com/debian-13.qcow2 --checksum sha256:…\n' +
        '  xzcat disk.img.xz | hscli image import - --name disk --format raw',
    )
    .action(async (from: string, options: ImportOptions) => {
      const context = contextOf(io, imported, 0);
      const made = await importFrom(context, from, options, (wishes, file) =>
        context.client.importImage(wishes, file),
      );
      await context.print(made, importedText);
    });
  const list = image
    .command('list')
    .description('images by name, also those that are being imported')
    .option('--name <name>', 'only with this name; * stands for any characters')
    .option('--policy <policy>', 'only with this policy')
    .option('--state <state>', 'only importing or ready')
    .option('--node <node>', 'only with data on this node');
  pageOptions(list)
    .addHelpText('after', "\nExamples:\n  hscli image list\n  hscli image list --name 'debian-*'")
    .action(async (options: ListOptions) => {
      const context = contextOf(io, list);
      const query = listQuery(options);
      const { entries, next } = await wholeList(query, async (part) => {
        const answer = await context.client.images(part);
        return { entries: answer.images, next: answer.next };
      });
      const empty =
        Object.keys(query).length === 0
          ? 'No images. Import one: hscli image import --help'
          : 'No images match.';
      await context.print(
        { images: entries, ...(next === undefined ? {} : { next }) },
        async ({ images }) => (await table(images, columns, empty)) + moreText(next),
      );
    });
  image
    .command('show')
    .description('one image: where its copies are, and the file that it was made from')
    .argument(...which)
    .addHelpText('after', '\nExample:\n  hscli image show debian-13')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.image(name), imageText);
    });
  image
    .command('delete')
    .description('delete an image; volumes that were made from it stay as they are')
    .argument(...which)
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  hscli image delete debian-13 --yes')
    .action(async (name: string, options: { yes?: true }, command: Command) => {
      const context = contextOf(io, command);
      const found = await context.client.image(name);
      if (options.yes !== true) {
        await askForName(context, {
          name: found.name,
          question: `No more volumes can be made from ${found.name}. Type its name to delete it:`,
          nobody: `nobody can be asked whether to delete ${found.name}`,
          hint: 'Say --yes to delete it without being asked.',
          refused: 'that was not its name; nothing was deleted',
        });
      }
      await context.client.deleteImage(found.id);
      await context.print({ deleted: found.name }, () => `Image ${found.name} is deleted.\n`);
    });
  imagePruneCommand(image, io);
  const exported = image
    .command('export')
    .description('write an image to a file or to standard output')
    .argument(...which);
  exportOptions(exported)
    .addHelpText(
      'after',
      '\nExamples:\n  hscli image export debian-13 --to debian-13.qcow2 --format qcow2\n' +
        '  hscli image export debian-13 --to - | gzip > debian-13.img.gz',
    )
    .action(async (name: string, options: ExportOptions) => {
      const context = contextOf(io, exported, 0);
      const { id } = await context.client.image(name);
      const what = { id, name, snapshot: null };
      await printExported(context, await exportTo(io, exported, what, options));
    });
}

function importedText({ image, notes }: ImportedImageAnswer): string {
  const { name, sizeBytes, checksum, format } = image;
  const lines = [
    `Image ${name} (${formatBytes(sizeBytes)}, from ${format}) is ready.`,
    `Its file had ${checksum}.`,
    ...notes,
    `Make a volume from it: hscli volume create NAME --image ${name} --policy ${image.policy.name}`,
  ];
  return `${lines.join('\n')}\n`;
}

function imageText(image: ImageAnswer): string {
  return fields([
    ['Name', image.name],
    ['Id', image.id],
    ['State', image.state],
    ['Size', `${formatBytes(image.sizeBytes)} (${image.sizeBytes} bytes)`],
    ['Takes', formatBytes(image.bytes)],
    ['Policy', image.policy.name],
    [
      'Copies',
      formatList(
        image.copies.map(({ node, state, up }) => `${node} ${state}${up ? '' : ' (down)'}`),
      ),
    ],
    ['Made from', `${image.format ?? '-'}, ${formatBytes(image.fileBytes)}`],
    ['Checksum', image.checksum ?? '-'],
    ['Created', formatTime(image.createdAt)],
    ['Last used', image.usedAt === null ? 'never' : formatTime(image.usedAt)],
    ['Volumes', String(image.clones)],
  ]);
}

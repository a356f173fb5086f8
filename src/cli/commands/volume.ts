import type { Command } from 'commander';
import type { LayerAnswer } from '../../api/schemas.ts';
import type { CreateVolumeRequest } from '../../api/snapshot-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { confirmDelete } from '../confirm.ts';
import { contextOf, type Io } from '../context.ts';
import { type EpisodeOptions, episodeOptions, givenPlan } from '../episode-options.ts';
import { forceCommand } from '../force.ts';
import { type Column, formatList, table } from '../format.ts';
import { givenLimits, type LimitOptions, limitOptions } from '../limit-options.ts';
import { formatBytes, parseSize } from '../size.ts';
import { verifyVolume } from '../verify.ts';
import { throwUnlessEqual, verificationText } from '../verify-text.ts';
import { reportText, volumeText } from '../volume-text.ts';
import { watchVolume } from '../watch.ts';
import { volumeWithSpace } from '../with-space.ts';
import { changeCommands } from './change.ts';
import { cloneCommand } from './clone.ts';
import { compactCommand } from './compact.ts';
import { deviceCommand } from './device.ts';
import { extendCommand } from './extend.ts';
import { qosCommand } from './qos.ts';
import { volumeFileCommands } from './volume-files.ts';
import { volumeListCommand } from './volume-list.ts';

/** Of a clone: which record each layer belongs to. */
const homeColumn: Column<LayerAnswer> = { title: 'BELONGS TO', value: (l) => l.volume };

const layerColumns: Column<LayerAnswer>[] = [
  { title: 'LAYER', value: (layer) => String(layer.number), right: true },
  { title: 'EPOCH', value: (layer) => String(layer.epoch), right: true },
  { title: 'STATE', value: (layer) => layer.state },
  { title: 'SIZE', value: (layer) => formatBytes(layer.sizeBytes), right: true },
  { title: 'ALLOCATED', value: (layer) => formatBytes(layer.bytes), right: true },
  {
    title: 'COPIES',
    value: (layer) =>
      formatList(
        layer.copies.map(({ node, state, up }) => `${node} ${state}${up ? '' : ' (down)'}`),
      ),
  },
  { title: 'ID', value: (layer) => layer.id },
];

type CreateOptions = { size?: string; policy?: string; image?: string } & LimitOptions &
  EpisodeOptions;
type DeleteOptions = { yes?: boolean; snapshots?: boolean };

const which = ['<volume>', 'name or id of the volume'] as const;

export function volumeCommands(program: Command, io: Io): void {
  const volume = program.command('volume').description('volumes and where they are attached');
  const create = volume
    .command('create')
    .description('create a volume')
    .argument('<name>', 'a new name')
    .option('--size <size>', 'its size: 10G is 10 GiB; also k, M, T, P, KiB, MiB …')
    .option('--policy <policy>', 'Gold (3 copies), Silver (2) or Bronze (1)')
    .option(
      '--image <image>',
      'begin with an image; then size and policy are its own if not given',
    );
  episodeOptions(limitOptions(create))
    .addHelpText(
      'after',
      '\nExamples:\n  hscli volume create db1 --size 10G --policy Silver\n' +
        '  hscli volume create scratch --size 1.5TiB --policy Bronze --max-bandwidth 100M\n' +
        '  hscli volume create web1 --image debian-13 --size 20G',
    )
    .action(async (name: string, options: CreateOptions) => {
      const context = contextOf(io, create);
      const made = await context.client.create(creation(name, options));
      await context.print(
        made,
        (v) => `Volume ${v.name} (${formatBytes(v.sizeBytes)}, ${v.policy.name}) is ready.\n`,
      );
    });
  volumeListCommand(volume, io);
  volume
    .command('show')
    .description('one volume in plain words: where its copies are, what is wrong and being done')
    .argument(...which)
    .option('--watch', 'show it again whenever something changes, until Ctrl-C')
    .addHelpText('after', '\nExamples:\n  hscli volume show db1\n  hscli volume show db1 --watch')
    .action(async (name: string, options: { watch?: boolean }, command: Command) => {
      const context = contextOf(io, command);
      if (options.watch === true) {
        await watchVolume(context, name);
      } else {
        await context.print(await volumeWithSpace(context.client, name), volumeText);
      }
    });
  volume
    .command('attach')
    .description('make a volume usable on a node and print its NBD URI; again is no error')
    .argument(...which)
    .option('--node <node>', 'the node of the consumer (default: this one)')
    .addHelpText(
      'after',
      '\nExamples:\n  hscli volume attach db1\n  nbdinfo "$(hscli volume attach db1)"\n' +
        '  hscli volume attach db1 --node n2',
    )
    .action(async (name: string, options: { node?: string }, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.attach(name, options.node), ({ uri }) => `${uri}\n`);
    });
  volume
    .command('detach')
    .description('end the use of a volume on a node; what is not attached is no error')
    .argument(...which)
    .option('--node <node>', 'the node of the consumer (default: this one)')
    .option('--force', 'do not ask that node: revoke at once, wait until its consumer is shut out')
    .addHelpText(
      'after',
      '\nExamples:\n  hscli volume detach db1\n  hscli volume detach db1 --node n2\n' +
        '  hscli volume detach db1 --node n2 --force    when n2 is cut off',
    )
    .action(async (name: string, options: { node?: string; force?: true }, command: Command) => {
      const context = contextOf(io, command);
      const host = options.node ?? (await context.client.thisNode());
      if (options.force === true) await context.client.forceDetach(name, host);
      else await context.client.detach(name, host);
      await context.print({ volume: name, host }, () => `${name} is not attached on ${host}.\n`);
    });
  volume
    .command('delete')
    .description('delete a volume and all its data; it must not be attached')
    .argument(...which)
    .option('--snapshots', 'with all its snapshots, unless one is protected')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nA volume with snapshots is deleted only with --snapshots. Clones of it stay: what they share\n' +
        'with it is kept as long as they need it (hscli volume list --all shows it as a base).\n' +
        '\nExamples:\n  hscli volume delete db1 --yes\n  hscli volume delete db1 --snapshots',
    )
    .action(async (name: string, options: DeleteOptions, command: Command) => {
      const context = contextOf(io, command);
      let id = name;
      const snapshots = options.snapshots === true;
      if (options.yes !== true) {
        const found = await context.client.volume(name);
        await confirmDelete(context, found);
        // What was confirmed is deleted, not what may have its name by now.
        id = found.id;
      }
      await context.client.delete(id, { snapshots });
      await context.print({ deleted: name }, () => `Volume ${name} is deleted.\n`);
    });
  volume
    .command('layers')
    .description('the chain of layers, oldest first, and where their copies are')
    .argument(...which)
    .addHelpText('after', '\nExample:\n  hscli volume layers db1')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.layers(name), ({ layers }) => {
        const shared = new Set(layers.map((layer) => layer.volume)).size > 1;
        const columns = shared ? [...layerColumns, homeColumn] : layerColumns;
        return table(layers, columns, 'No layers: nothing was written yet.');
      });
    });
  volume
    .command('health')
    .description('how a volume is, what is wrong, why, and what is being done')
    .argument(...which)
    .addHelpText('after', '\nExample:\n  hscli volume health db1 --json')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(await context.client.health(name), (report) => reportText(report));
    });
  volume
    .command('verify')
    .description('read every copy of every layer anew, compare, and say what is damaged')
    .argument(...which)
    .option('--repair', 'mend what is damaged from copies that are proven')
    .option('--seal', 'seal the open layer first, so that it is compared too')
    .addHelpText(
      'after',
      '\nExit status: 0 when all copies are equal, 9 when damage is left, 6 when not all could be\n' +
        'compared. Waits for ever unless --timeout says how long.\n' +
        '\nExamples:\n  hscli volume verify db1\n  hscli volume verify db1 --repair --seal',
    )
    .action(
      async (name: string, options: { repair?: boolean; seal?: boolean }, command: Command) => {
        const context = contextOf(io, command, 0);
        const wishes = { seal: options.seal === true, repair: options.repair === true };
        const verified = await verifyVolume(context, name, wishes);
        await context.print(verified, verificationText);
        throwUnlessEqual(verified);
      },
    );
  volume
    .command('seal')
    .description('seal the layer that is being written and begin a new one')
    .argument(...which)
    .addHelpText('after', '\nExample:\n  hscli volume seal db1')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(
        await context.client.seal(name),
        (v) => `Sealed; ${v.name} is at epoch ${v.epoch} now.\n`,
      );
    });
  cloneCommand(volume, io);
  deviceCommand(volume, io);
  extendCommand(volume, io);
  changeCommands(volume, io);
  compactCommand(volume, io);
  qosCommand(volume, io);
  forceCommand(volume, io);
  volumeFileCommands(volume, io);
}

/** @throws `bad-input` when size or policy is missing and no image has them */
function creation(name: string, options: CreateOptions): CreateVolumeRequest {
  const { size, policy, image } = options;
  const missing = size === undefined ? '--size <size>' : '--policy <policy>';
  if (image === undefined && (size === undefined || policy === undefined)) {
    throw new HyperscaleError('bad-input', `required option '${missing}' not specified`, {
      hint: 'See --help.',
    });
  }
  const plan = givenPlan(options, null);
  return {
    name,
    ...(size === undefined ? {} : { sizeBytes: parseSize(size) }),
    ...(policy === undefined ? {} : { policy }),
    ...(image === undefined ? {} : { source: { volume: image } }),
    ...givenLimits(options),
    ...(plan == null ? {} : { episodes: plan }),
  };
}

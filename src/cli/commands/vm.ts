import type { Command } from 'commander';
import type { DiskRequest, VmAnswer, VmDiskAnswer, VmListAnswer } from '../../api/vm-schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import type { DiskBus } from '../../libvirt/disk-xml.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { type Column, printable, table } from '../format.ts';

const volumeArgument = ['<volume>', 'name or id of the volume'] as const;
const vmArgument = ['<vm>', 'name or UUID of the libvirt domain'] as const;

/** How long a guest may take to let go of a disk, when nothing else is said. */
const guestSeconds = 30;
/** What comes after that: the volume is detached, the definition changed. */
const finishSeconds = 60;
/** The API's own limit. */
const mostGuestSeconds = 86_400;

/** As in `disk-xml.ts`, which would be loaded with an XML library before every command. */
const diskBuses: readonly DiskBus[] = ['virtio', 'scsi', 'sata', 'ide', 'usb'];

type DiskOptions = { target?: string; bus?: string; bootOrder?: string; readOnly?: true };

const columns: Column<VmAnswer>[] = [
  { title: 'NAME', value: (vm) => vm.name },
  { title: 'NODE', value: (vm) => vm.node },
  { title: 'STATE', value: (vm) => vm.state },
  { title: 'DISKS', value: (vm) => vm.disks.map(diskText).join(', ') || '-' },
  { title: 'UUID', value: (vm) => vm.uuid },
];

export function vmCommands(program: Command, io: Io): void {
  const vm = program.command('vm').description('virtual machines of libvirt, and their disks');
  vm.command('list')
    .description('the virtual machines of this node, with their disks that are volumes')
    .option('--cluster', 'those of all nodes')
    .addHelpText(
      'after',
      '\nA disk that only the running guest has is marked "until it stops", one that only the\n' +
        'definition has "from its next start".\n' +
        '\nExamples:\n  hscli vm list\n  hscli vm list --cluster',
    )
    .action(async (options: { cluster?: true }, command: Command) => {
      const context = contextOf(io, command);
      const answer = await context.client.vms(options.cluster === true ? 'cluster' : 'node');
      warnOfMissing(context, answer);
      await context.print(answer, ({ vms }) => table(vms, columns, 'No virtual machines.'));
    });
  withDiskOptions(
    vm
      .command('attach')
      .description('give a volume to a virtual machine as a disk; again is no error')
      .argument(...vmArgument)
      .argument(...volumeArgument),
  )
    .option('--no-persist', 'give it to the running guest alone, not to its definition')
    .addHelpText(
      'after',
      '\nEnds when the guest has the disk; a domain that is shut off gets it in its definition. A\n' +
        'volume that another guest or host uses is refused. When it fails, everything is as before.\n' +
        '\nExamples:\n  hscli vm attach web1 db1\n  hscli vm attach web1 db1 --target vdc --no-persist',
    )
    .action(
      async (
        name: string,
        volume: string,
        options: DiskOptions & { persist: boolean },
        command: Command,
      ) => {
        const context = contextOf(io, command);
        const body = { volume, persist: options.persist, ...diskRequest(options) };
        await context.print(await context.client.attachDisk(name, body), attachedText);
      },
    );
  vm.command('detach')
    .description('take a volume from a virtual machine; what it does not have is no error')
    .argument(...vmArgument)
    .argument(...volumeArgument)
    .addHelpText(
      'after',
      '\nEnds when the guest has let go of the disk and the volume is detached from the node. A guest\n' +
        `that does not let go within --timeout (here ${guestSeconds} seconds) is reported, exit status 7, and keeps\n` +
        'the disk; repeat the command when it is ready.\n' +
        '\nExamples:\n  hscli vm detach web1 db1\n  hscli vm detach web1 db1 --timeout 120',
    )
    .action(async (name: string, volume: string, _options, command: Command) => {
      const context = contextOf(io, command, guestSeconds, finishSeconds);
      const wait = context.seconds === 0 ? mostGuestSeconds : context.seconds;
      const answer = await context.client.detachDisk(name, volume, wait);
      await context.print(answer, (done) => detachedText(done, volume));
    });
  withDiskOptions(
    vm
      .command('define-disk')
      .description('attach a volume on this node and print the disk element for a definition')
      .argument(...volumeArgument),
  )
    .addHelpText(
      'after',
      '\nFor people who write definitions of domains themselves. Again prints the same, as long as the\n' +
        'volume stays attached; after a reboot of the node it prints a new one. To undo it, take the\n' +
        'disk out of the domain and then: hscli volume detach VOLUME\n' +
        '\nExamples:\n  hscli vm define-disk db1 --target vdb > disk.xml\n' +
        '  virsh attach-device web1 disk.xml --config',
    )
    .action(async (volume: string, options: DiskOptions, command: Command) => {
      const context = contextOf(io, command);
      const answer = await context.client.defineDisk(volume, diskRequest(options));
      await context.print(answer, ({ xml }) => `${xml}\n`);
    });
}

function withDiskOptions(command: Command): Command {
  return command
    .option('--target <name>', 'name of the disk in the domain, such as vdb (default: a free one)')
    .option('--bus <bus>', `${diskBuses.join(', ')} (default: virtio)`)
    .option('--boot-order <n>', 'place in the order in which the firmware tries to boot, from 1')
    .option('--read-only', 'the guest may not write');
}

/** Text of the command line as the API wants it. @throws `bad-input` */
export function diskRequest(options: DiskOptions): DiskRequest {
  const { target, bus, bootOrder, readOnly } = options;
  if (bus !== undefined && !isBus(bus)) {
    throw new HyperscaleError('bad-input', `there is no bus ${JSON.stringify(bus)}`, {
      hint: `Choose one of ${diskBuses.join(', ')}.`,
    });
  }
  if (bootOrder !== undefined && !/^[1-9]\d{0,3}$/.test(bootOrder)) {
    throw new HyperscaleError(
      'bad-input',
      `boot order ${JSON.stringify(bootOrder)} is no whole number from 1`,
      { hint: 'The disk with 1 is tried first.' },
    );
  }
  return {
    ...(target === undefined ? {} : { target }),
    ...(bus === undefined ? {} : { bus }),
    ...(bootOrder === undefined ? {} : { bootOrder: Number(bootOrder) }),
    ...(readOnly === undefined ? {} : { readOnly }),
  };
}

function isBus(text: string): text is DiskBus {
  return diskBuses.some((bus) => bus === text);
}

function diskText({ name, target, live, persistent }: VmAnswer['disks'][number]): string {
  if (live && persistent) return `${target} ${name}`;
  return `${target} ${name} (${live ? 'until it stops' : 'from its next start'})`;
}

function attachedText({ vm, node, disk, changed, notes }: VmDiskAnswer): string {
  const when = disk.live ? (disk.persistent ? '' : ', until it stops') : ', from its next start';
  const was = changed ? 'is now' : 'was already';
  const said = `Volume ${disk.name} ${was} disk ${disk.target} of ${vm} on ${node}${when}.`;
  return lines([said, ...notes]);
}

function detachedText({ vm, disk, changed, notes }: VmDiskAnswer, volume: string): string {
  const said = changed
    ? `Volume ${disk.name} is no disk of ${vm} any more (it was ${disk.target}).`
    : `Volume ${volume} is no disk of ${vm}.`;
  return lines([said, ...notes]);
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${printable(text)}\n`).join('');
}

function warnOfMissing({ io }: Context, { missing }: VmListAnswer): void {
  for (const { node, reason } of missing) {
    io.stderr.write(`hscli: what ${printable(node)} has is not known: ${printable(reason)}\n`);
  }
}

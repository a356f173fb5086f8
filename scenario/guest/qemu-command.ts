import { join } from 'node:path';
import type { GuestImage } from './image.ts';

export type GuestOptions = {
  image: GuestImage;
  /** The volume's NBD export. */
  uri: { socket: string; export: string };
  /** What the guest does with the disk; see `init.sh`. */
  mode: 'record' | 'verify' | 'idle';
  /** Serial number of the disk; a virtio disk shows the first 20 characters. */
  serial: string;
  /** Sockets and logs go here; one guest at a time. */
  directory: string;
  /** Name of the network namespace to run in. */
  netns?: string;
  /** Pause between two records, in milliseconds; 20 when absent. */
  pauseMs?: number;
  /** Kills the guest when aborted. */
  signal?: AbortSignal;
};

/** A day: the guest's requests hang, and never fail, while its volume is away. */
const reconnectSeconds = 86_400;

/** QEMU's key=value options separate with commas; a comma in a value is doubled. */
function quoted(value: string): string {
  return value.replaceAll(',', ',,');
}

function kernelArguments(options: GuestOptions): string {
  const seed = Math.floor(Math.random() * 0x7fffffff);
  return [
    'console=ttyS1 loglevel=5 panic=-1 mitigations=off nokaslr',
    // Calibrating a time stamp counter that is emulated only costs boot time.
    'tsc=unstable clocksource=acpi_pm no_timer_check cryptomgr.notests',
    `hs.mode=${options.mode} hs.seed=${seed}`,
    `hs.pause=${((options.pauseMs ?? 20) / 1000).toFixed(3)}`,
  ].join(' ');
}

/** The command line of a guest, and the sockets that its QEMU will connect to. */
export function qemuCommand(options: GuestOptions): {
  command: string[];
  monitorSocket: string;
  kernelSocket: string;
} {
  const { directory, image, uri } = options;
  const monitorSocket = join(directory, 'qmp.sock');
  const kernelSocket = join(directory, 'kernel.sock');
  const disk = {
    driver: 'nbd',
    'node-name': 'disk',
    server: { type: 'unix', path: uri.socket },
    export: uri.export,
    'reconnect-delay': reconnectSeconds,
    cache: { direct: true },
  };
  const device = {
    driver: 'virtio-blk-pci',
    drive: 'disk',
    serial: options.serial.slice(0, 20),
    werror: 'stop',
    rerror: 'stop',
  };
  const file = (name: string) => quoted(join(directory, name));
  const command = [
    ...(options.netns === undefined ? [] : ['ip', 'netns', 'exec', options.netns]),
    // Each command here replaces the one before it, so QEMU itself is our child and dies with us.
    ...['setpriv', '--pdeathsig', 'KILL', 'qemu-system-x86_64', '-accel', 'tcg'],
    // Without RDRAND the kernel gathers randomness for seconds before mke2fs gets its UUID.
    ...['-machine', 'pc,hpet=off,vmport=off', '-cpu', 'qemu64,+rdrand', '-smp', '1', '-m', '256'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', image.kernel, '-initrd', image.initramfs, '-append', kernelArguments(options)],
    ...['-chardev', `stdio,id=console,signal=off,logfile=${file('console.log')}`],
    ...['-serial', 'chardev:console'],
    ...['-chardev', `socket,id=kernel,path=${quoted(kernelSocket)},logfile=${file('kernel.log')}`],
    ...['-serial', 'chardev:kernel'],
    ...['-chardev', `socket,id=monitor,path=${quoted(monitorSocket)}`],
    ...['-mon', 'chardev=monitor,mode=control'],
    ...['-blockdev', JSON.stringify(disk), '-device', JSON.stringify(device)],
  ];
  return { command, monitorSocket, kernelSocket };
}

import { heldDescriptors } from './held-process.ts';

/**
 * The parts of QEMU's block graphs. Pure functions from what is wanted to the command line of
 * `qemu-storage-daemon`: its options are carried out in their order before it answers anybody, so a
 * process that answers has its whole graph, and one that cannot build it ends with a message.
 */

/** How local files are opened; found out once by `probeFileAccess`. */
export type FileAccess = { aio: 'io_uring' | 'threads'; direct: boolean };

/** A node of QEMU's block graph in the words of `blockdev-add`. */
export type BlockNode = { driver: string; [option: string]: unknown };

export const qemuStorageDaemon = 'qemu-storage-daemon';

/** Seconds that a write waits for a peer that is away: it hangs, it never fails (rule 2). */
const reconnectSeconds = 86_400;
/** Seconds in which a peer must answer while a graph is built; a restart of its server fits in. */
const openTimeoutSeconds = 2;

export function fileNode(path: string, access: FileAccess): BlockNode {
  return {
    driver: 'file',
    filename: path,
    aio: access.aio,
    cache: { direct: access.direct, 'no-flush': false },
  };
}

/**
 * Another host's NBD server. The kernel asks a silent one whether it is still there, by default after two
 * hours: a last resort (docs/design/data-plane.md).
 */
export function inetServer(host: string, port: number): object {
  return { type: 'inet', host, port: String(port), 'keep-alive': true };
}

/** A peer's or a head's export over NBD; `server` is QEMU's socket address. */
export function nbdNode(server: object, name: string): BlockNode {
  return {
    driver: 'nbd',
    server,
    export: name,
    'reconnect-delay': reconnectSeconds,
    'open-timeout': openTimeoutSeconds,
  };
}

/**
 * What a process begins with: the program and its monitors. Exports have no thread of their own: with
 * one, QEMU 10.0 sometimes never ends the removal of an export while another of the same node is in
 * use (its main thread waits in `bdrv_try_change_aio_context`).
 */
export function processArguments(eventsFile: string): string[] {
  return [qemuStorageDaemon, ...monitorArguments(eventsFile, false)];
}

/**
 * The monitor, and a second one that has every event written to a file (`hold-listener`).
 * @param waits nothing of what follows on the command line is done before a client connects. The file
 *   is there when QEMU has come so far.
 */
export function monitorArguments(eventsFile: string, waits: boolean): string[] {
  const wait = waits ? 'on' : 'off';
  const events = `file,id=events,append=on,path=${doubled(eventsFile)}`;
  return [
    ...['--chardev', `${events},input-path=/dev/fd/${heldDescriptors.capabilities}`],
    ...['--chardev', `socket,id=qmp,fd=${heldDescriptors.qmp},server=on,wait=${wait}`],
    ...['--monitor', 'chardev=qmp'],
    ...['--monitor', 'chardev=events'],
  ];
}

/** More than 100 connections, which is the limit otherwise. */
const unlimited = 'max-connections=0';

export function attachServer(): string[] {
  return ['--nbd-server', `addr.type=fd,addr.str=${heldDescriptors.attach},${unlimited}`];
}

export function tcpServer(address: string, port: number): string[] {
  const place = `addr.type=inet,addr.host=${doubled(address)},addr.port=${port}`;
  return ['--nbd-server', `${place},${unlimited}`];
}

export function blockdev(node: BlockNode): string[] {
  return ['--blockdev', JSON.stringify(node)];
}

/** In QEMU's option lists a comma within a value is doubled. */
function doubled(value: string): string {
  return value.replaceAll(',', ',,');
}

export function nbdExport(options: object): string[] {
  return ['--export', JSON.stringify(options)];
}

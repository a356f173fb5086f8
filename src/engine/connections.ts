import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Column of `/proc/PID/net/unix` that has the state, the inode and the path (proc_net_unix(5)). */
const unixColumns = { flags: 3, state: 5, inode: 6, path: 7 } as const;
const connected = '03';
/** `__SO_ACCEPTCON`: it listens. */
const listening = 0x10000;
/** A socket that consumers connect to lies in a directory of this name (environment.ts). */
const attachPath = /\/attach\/[^/]*$/;

/**
 * Consumers that are connected to a head or a proxy of this host now, as the kernel has it.
 *
 * QEMU does not tell how many there are. A connection belongs to the network namespace of the one who
 * connected: of a consumer in another one the kernel tells nothing here but that there is a socket, so
 * what is neither TCP nor known here counts as a consumer.
 * @returns 0 for a process that is gone.
 */
export function connectionsOf(pid: number): number {
  const sockets = socketsOf(pid);
  if (sockets.size === 0) return 0;
  const unix = unixSockets(pid);
  const tcp = tcpSockets(pid);
  return [...sockets].filter((inode) => {
    const known = unix.get(inode);
    return known === undefined ? !tcp.has(inode) : known.isConsumer;
  }).length;
}

function socketsOf(pid: number): Set<string> {
  const found = new Set<string>();
  for (const name of entries(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${name}`))?.[1];
    if (inode !== undefined) found.add(inode);
  }
  return found;
}

function unixSockets(pid: number): Map<string, { isConsumer: boolean }> {
  const found = new Map<string, { isConsumer: boolean }>();
  for (const columns of rows(`/proc/${pid}/net/unix`)) {
    const { flags, state, inode, path } = unixColumns;
    const isListening = (Number.parseInt(columns[flags] ?? '0', 16) & listening) !== 0;
    const isConsumer =
      !isListening && columns[state] === connected && attachPath.test(columns[path] ?? '');
    found.set(columns[inode] ?? '', { isConsumer });
  }
  return found;
}

function tcpSockets(pid: number): Set<string> {
  const inodeColumn = 9;
  const all = ['tcp', 'tcp6'].flatMap((table) => rows(`/proc/${pid}/net/${table}`));
  return new Set(all.map((columns) => columns[inodeColumn] ?? ''));
}

function rows(path: string): string[][] {
  try {
    const [, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
    return lines.map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

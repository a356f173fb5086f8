import { HyperscaleError } from '../errors.ts';
import type { HeadSpec, LayerKey, LayerSource, PeerExport, ProxySpec } from './engine.ts';
import { heldDescriptors } from './held-process.ts';

/**
 * Pure functions from what is wanted to the command line of `qemu-storage-daemon`. Its options are
 * carried out in their order before it answers anybody, so a process that answers has its whole
 * graph, and one that cannot build it ends with a message.
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

const kib = 1024;
const mib = 1024 * kib;

export function fileNode(path: string, access: FileAccess): BlockNode {
  return {
    driver: 'file',
    filename: path,
    aio: access.aio,
    cache: { direct: access.direct, 'no-flush': false },
  };
}

/** A peer's or a head's export over NBD; `server` is QEMU's socket address. */
function nbdNode(server: object, name: string): BlockNode {
  return {
    driver: 'nbd',
    server,
    export: name,
    'reconnect-delay': reconnectSeconds,
    'open-timeout': openTimeoutSeconds,
  };
}

function peerNode(peer: PeerExport, layer: string): BlockNode {
  const server = { type: 'inet', host: peer.address, port: String(peer.port) };
  return nbdNode(server, layer);
}

/**
 * Bytes of the cache for qcow2's tables: enough for the whole layer (16 bytes for each cluster of
 * 128 KiB), between 256 KiB and 16 MiB (which covers 128 GiB).
 */
export function tableCacheBytes(sizeBytes: number): number {
  const whole = Math.ceil(sizeBytes / (128 * kib)) * 16;
  const rounded = Math.ceil(whole / (64 * kib)) * 64 * kib;
  return Math.min(Math.max(rounded, 256 * kib), 16 * mib);
}

/** Name of the node that is this host's own file in the open layer's write set. */
export const localMember = 'm0';
/** Name of the node that is the `index`-th peer of the open layer. */
export const peerMember = (index: number): string => `m${index + 1}`;

/** Id of the export of a session; ids must begin with a letter. */
export const sessionExportId = (session: string): string => `s-${session}`;

export function headArguments(
  spec: HeadSpec,
  access: FileAccess,
  path: (key: LayerKey) => string,
  eventsFile: string,
): string[] {
  const cache = tableCacheBytes(spec.sizeBytes);
  const sealed = spec.sealed.map((source, index) => ({
    driver: 'qcow2',
    'node-name': `q${index}`,
    'read-only': true,
    'l2-cache-size': cache,
    file: { ...sealedPlace(source, access, path), 'read-only': true },
    backing: index === 0 ? null : `q${index - 1}`,
  }));
  const open = {
    driver: 'qcow2',
    'node-name': 'open',
    discard: 'unmap',
    'l2-cache-size': cache,
    file: openPlace(spec.open, access, path),
    backing: sealed.length === 0 ? null : `q${sealed.length - 1}`,
  };
  const limit = {
    'qom-type': 'throttle-group',
    id: 'limit',
    limits: { 'iops-total': spec.maxIops },
  };
  const top = { driver: 'throttle', 'node-name': 'top', 'throttle-group': 'limit', file: 'open' };
  return [
    ...monitor(eventsFile),
    ...['--object', JSON.stringify(limit)],
    ...[...sealed, open, top].flatMap(blockdev),
    ...attachServer(),
    ...spec.sessions.flatMap((session) => ['--export', JSON.stringify(sessionExport(session))]),
  ];
}

/** The export of one session, as on the command line and in `block-export-add`. */
export function sessionExport(session: string) {
  return {
    type: 'nbd',
    id: sessionExportId(session),
    name: session,
    'node-name': 'top',
    writable: true,
    // Rule 1: a head may be killed at any moment, so what it acknowledges must be stable.
    writethrough: true,
  };
}

function sealedPlace(
  source: LayerSource,
  access: FileAccess,
  path: (key: LayerKey) => string,
): BlockNode {
  const [peer, ...more] = source.peers;
  if (source.local && peer === undefined) return fileNode(path(source.layer), access);
  if (!source.local && peer !== undefined && more.length === 0) {
    return peerNode(peer, source.layer.layer);
  }
  throw new HyperscaleError('internal', 'a sealed layer is read from exactly one place', {
    values: { source },
  });
}

function openPlace(
  source: LayerSource,
  access: FileAccess,
  path: (key: LayerKey) => string,
): BlockNode {
  const members: BlockNode[] = source.peers.map((peer, index) => ({
    ...peerNode(peer, source.layer.layer),
    'node-name': peerMember(index),
  }));
  if (source.local) {
    const local = { ...fileNode(path(source.layer), access), discard: 'unmap' };
    members.unshift({ ...local, 'node-name': localMember });
  }
  const [first] = members;
  if (first === undefined) {
    throw new HyperscaleError('internal', 'an open layer needs a member', { values: { source } });
  }
  if (members.length === 1) return first;
  return {
    driver: 'quorum',
    'vote-threshold': members.length,
    'read-pattern': 'fifo',
    children: members,
  };
}

/** On a consumer's host: the session's export of the head's host, at this host's attach socket. */
export function proxyArguments(spec: ProxySpec, eventsFile: string): string[] {
  const server = { type: 'inet', host: spec.address, port: String(spec.port) };
  return [
    ...monitor(eventsFile),
    ...relay(server, spec.session),
    ...attachServer(),
    ...relayed(spec),
  ];
}

/** On the head's host: the session's export of the head's socket, over TCP. */
export function gatewayArguments(
  spec: { session: string; socket: string; address: string; port: number },
  eventsFile: string,
): string[] {
  const server = { type: 'unix', path: spec.socket };
  return [
    ...monitor(eventsFile),
    ...relay(server, spec.session),
    ...tcpServer(spec.address, spec.port),
    ...relayed(spec),
  ];
}

function relay(server: object, session: string): string[] {
  return blockdev({ ...nbdNode(server, session), 'node-name': 'top', 'open-timeout': 10 });
}

/** Nothing is kept back here, so the head's own writethrough is enough. */
function relayed(spec: { session: string }): string[] {
  return ['--export', JSON.stringify({ ...sessionExport(spec.session), writethrough: false })];
}

export type LayerExport = { layer: string; path: string; writable: boolean };

export const layerNode = (layer: string): string => `f-${layer.slice(0, 24)}`;
export const layerExportId = (layer: string): string => `l-${layer}`;

/** The file of an exported layer. */
export function layerFileNode(exported: LayerExport, access: FileAccess): BlockNode {
  return {
    ...fileNode(exported.path, access),
    'node-name': layerNode(exported.layer),
    'read-only': !exported.writable,
    discard: 'unmap',
  };
}

/**
 * A peer's export is not writethrough: the head's is, and turns each of its writes into a write of
 * every member and then a flush of every member, which is what the promise needs.
 */
export function layerExport(exported: LayerExport) {
  return {
    type: 'nbd',
    id: layerExportId(exported.layer),
    name: exported.layer,
    'node-name': layerNode(exported.layer),
    writable: exported.writable,
    writethrough: false,
  };
}

export const pingExport = 'ping';

export function replicaArguments(
  spec: { address: string; port: number; heartbeat: string; layers: LayerExport[] },
  access: FileAccess,
  eventsFile: string,
): string[] {
  const beat = { ...fileNode(spec.heartbeat, access), 'node-name': 'beat', 'read-only': true };
  const ping = { type: 'nbd', id: pingExport, name: pingExport, 'node-name': 'beat' };
  return [
    ...monitor(eventsFile),
    ...blockdev(beat),
    ...spec.layers.flatMap((layer) => blockdev(layerFileNode(layer, access))),
    ...tcpServer(spec.address, spec.port),
    ...[ping, ...spec.layers.map(layerExport)].flatMap((e) => ['--export', JSON.stringify(e)]),
  ];
}

/** The monitor, and a second one that has every event written to a file (`hold-listener`). */
function monitor(eventsFile: string): string[] {
  const events = `file,id=events,append=on,path=${doubled(eventsFile)}`;
  return [
    qemuStorageDaemon,
    ...['--chardev', `socket,id=qmp,fd=${heldDescriptors.qmp},server=on,wait=off`],
    ...['--monitor', 'chardev=qmp'],
    ...['--chardev', `${events},input-path=/dev/fd/${heldDescriptors.capabilities}`],
    ...['--monitor', 'chardev=events'],
  ];
}

/** More than 100 connections, which is the limit otherwise. */
const unlimited = 'max-connections=0';

function attachServer(): string[] {
  return ['--nbd-server', `addr.type=fd,addr.str=${heldDescriptors.attach},${unlimited}`];
}

function tcpServer(address: string, port: number): string[] {
  const place = `addr.type=inet,addr.host=${doubled(address)},addr.port=${port}`;
  return ['--nbd-server', `${place},${unlimited}`];
}

function blockdev(node: BlockNode): string[] {
  return ['--blockdev', JSON.stringify(node)];
}

/** In QEMU's option lists a comma within a value is doubled. */
function doubled(value: string): string {
  return value.replaceAll(',', ',,');
}

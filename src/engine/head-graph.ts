import { HyperscaleError } from '../errors.ts';
import type { HeadSpec, LayerKey, LayerSource, PeerExport } from './engine.ts';
import {
  attachServer,
  type BlockNode,
  blockdev,
  type FileAccess,
  fileNode,
  inetServer,
  monitorArguments,
  nbdExport,
  nbdNode,
  qemuStorageDaemon,
} from './graphs.ts';
import { throttleGroup, throttleLimits } from './throttle.ts';

/**
 * A head: throttle over the open layer over the sealed ones. The open layer is a qcow2 over the
 * quorum of all its members, or over the local file when there are no peers.
 */

const kib = 1024;
const mib = 1024 * kib;

/** Tables are read and written back in pieces of this size, not by whole clusters of 128 KiB. */
const tableEntryBytes = 4096;

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

/**
 * The command line of a head. It falls into two parts, and between them the process waits for its
 * monitor to be connected to: what is done ahead touches nothing that the head before it, which may
 * still run, writes to, and writes nothing itself.
 */
export function headArguments(
  spec: HeadSpec,
  access: FileAccess,
  path: (key: LayerKey) => string,
  eventsFile: string,
): string[] {
  const cache = tableCacheBytes(spec.sizeBytes);
  const sealed = spec.sealed.map((source, index) => {
    const place = { ...sealedPlace(source, access, path), 'read-only': true };
    const node = { 'node-name': `q${index}`, 'read-only': true, file: place };
    if (source.fromBackup === true && index === 0) return { driver: 'raw', ...node };
    return {
      driver: 'qcow2',
      ...node,
      'l2-cache-size': cache,
      'l2-cache-entry-size': tableEntryBytes,
      backing: index === 0 ? null : `q${index - 1}`,
    };
  });
  // Perhaps that of the head before it: QEMU must not read its tables before they are final.
  const newest = sealed.splice(-1);
  const peers = spec.open.peers.map((peer, index) => ({
    ...peerNode(peer, spec.open.layer.layer),
    // Only a node that is named within another one has this by itself.
    discard: 'unmap',
    'node-name': peerMember(index),
  }));
  const open = {
    driver: 'qcow2',
    'node-name': 'open',
    discard: 'unmap',
    'l2-cache-size': cache,
    'l2-cache-entry-size': tableEntryBytes,
    file: openPlace(spec.open, access, path),
    backing: spec.sealed.length === 0 ? null : `q${spec.sealed.length - 1}`,
  };
  const limit = {
    'qom-type': 'throttle-group',
    id: throttleGroup,
    limits: throttleLimits(spec.limits),
  };
  const top = {
    driver: 'throttle',
    'node-name': 'top',
    'throttle-group': throttleGroup,
    // Every node on the way has to pass discards on, or the guest's are silently dropped.
    discard: 'unmap',
    file: 'open',
  };
  return [
    qemuStorageDaemon,
    ...['--object', JSON.stringify(limit)],
    ...[...sealed, ...peers].flatMap(blockdev),
    ...monitorArguments(eventsFile, true),
    ...[...newest, open, top].flatMap(blockdev),
    ...attachServer(),
    ...spec.sessions.map((s) => sessionExport(s, spec.readOnly)).flatMap(nbdExport),
  ];
}

/** The export of one session, as on the command line and in `block-export-add`. */
export function sessionExport(session: string, readOnly = false) {
  return {
    type: 'nbd',
    id: sessionExportId(session),
    name: session,
    'node-name': 'top',
    writable: !readOnly,
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
): BlockNode | string {
  const members: (BlockNode | string)[] = source.peers.map((_, index) => peerMember(index));
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

function peerNode(peer: PeerExport, layer: string): BlockNode {
  return nbdNode(inetServer(peer.address, peer.port), layer);
}

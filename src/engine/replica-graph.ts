import {
  type BlockNode,
  blockdev,
  type FileAccess,
  fileNode,
  nbdExport,
  processArguments,
  tcpServer,
} from './graphs.ts';

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
  const ping = {
    type: 'nbd',
    id: pingExport,
    name: pingExport,
    'node-name': 'beat',
  };
  return [
    ...processArguments(eventsFile),
    ...blockdev(beat),
    ...spec.layers.flatMap((layer) => blockdev(layerFileNode(layer, access))),
    ...tcpServer(spec.address, spec.port),
    ...[ping, ...spec.layers.map(layerExport)].flatMap(nbdExport),
  ];
}

import type {
  ClusterSpaceAnswer,
  NodeSpaceAnswer,
  VolumeSpaceAnswer,
} from '../api/space-schemas.ts';
import { fields } from './format.ts';
import { formatBytes } from './size.ts';

/** The cluster as `hscli space` begins. */
export function clusterSpaceText(space: ClusterSpaceAnswer): string {
  const { totalBytes, freeBytes, layerBytes, garbageBytes, sharedBytes } = space;
  const shared = sharedBytes === 0 ? '' : `, of which several show ${formatBytes(sharedBytes)}`;
  const garbage = garbageBytes === 0 ? '' : `; ${formatBytes(garbageBytes)} wait to be deleted`;
  return fields([
    ['Pools', `${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`],
    ['Layers', `${formatBytes(layerBytes)}${shared}${garbage}`],
    ['Snapshots', `hold ${snapshotText(space.snapshotBytes)}`],
    [
      'Promised',
      `${formatBytes(space.promisedBytes)} in all copies, ${ratio(space.promisedBytes, totalBytes)} of the pools; ${formatBytes(space.virtualBytes)} of volumes`,
    ],
    [
      'Room',
      space.room
        .map(({ copies, bytes }) => `${formatBytes(bytes)} more with ${copies}`)
        .join(', ')
        .concat(' copies'),
    ],
  ]);
}

/** What snapshots hold: between what is sure and what may be. */
export function snapshotText({ atLeast, atMost }: { atLeast: number; atMost: number }): string {
  if (atMost === 0) return formatBytes(0);
  return atLeast === atMost
    ? formatBytes(atMost)
    : `${formatBytes(atLeast)} to ${formatBytes(atMost)}`;
}

/** `2.5x`; `-` where nothing is known of the other. */
export function ratio(of: number, to: number | null): string {
  return to === null || to === 0 ? '-' : `${(of / to).toFixed(2)}x`;
}

/** One volume, in a line or two. */
export function volumeSpaceFields(space: VolumeSpaceAnswer): [string, string][] {
  const { heldBytes, copies, sharedBytes, garbageBytes, belowBytes, unmeasured } = space;
  const where = copies.map(({ node, bytes }) => `${formatBytes(bytes)} on ${node}`).join(', ');
  const parts = [
    `${formatBytes(heldBytes)} held${where === '' ? '' : ` (${where})`}`,
    ...(sharedBytes === 0 ? [] : [`${formatBytes(sharedBytes)} of it shown by clones too`]),
    ...(garbageBytes === 0 ? [] : [`${formatBytes(garbageBytes)} of it waits to be deleted`]),
    ...(belowBytes === 0 ? [] : [`${formatBytes(belowBytes)} more belongs to what it shows`]),
    ...(unmeasured.length === 0 ? [] : [`${unmeasured.join(', ')} could not be asked`]),
  ];
  const lines: [string, string][] = [['Space', parts.join('; ')]];
  if (space.snapshotBytes.atMost > 0) {
    lines.push(['Held by snapshots', snapshotText(space.snapshotBytes)]);
  }
  return lines;
}

/** What clones show too of a node's layers, and what snapshots hold. */
function inLayers(shared: number, snapshots: NodeSpaceAnswer['snapshotBytes']): string {
  const parts = [
    ...(shared === 0 ? [] : [`${formatBytes(shared)} shown by clones too`]),
    ...(snapshots.atMost === 0 ? [] : [`${snapshotText(snapshots)} held by snapshots`]),
  ];
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`;
}

/** What takes the pool of a node. */
export function nodeSpaceFields(space: NodeSpaceAnswer): [string, string][] {
  const { layerBytes, sharedBytes, snapshotBytes, garbageBytes } = space;
  const { unknownBytes, ownBytes, reserveBytes, othersBytes } = space;
  const known = (bytes: number | null, what: string) =>
    bytes === null || bytes === 0 ? [] : [`${formatBytes(bytes)} ${what}`];
  const parts = [
    `${formatBytes(layerBytes)} of layers${inLayers(sharedBytes, snapshotBytes)}`,
    ...known(garbageBytes, 'waits to be deleted'),
    ...known(unknownBytes, 'of layers that no record knows'),
    ...known(ownBytes, 'of records, checksums and the like'),
    ...known(reserveBytes, 'of reserve'),
    ...known(othersBytes, 'that is not ours'),
  ];
  const { promisedBytes, totalBytes } = space;
  return [
    ['Used', parts.join(', ')],
    ['Promised', `${formatBytes(promisedBytes)}, ${ratio(promisedBytes, totalBytes)} of the pool`],
  ];
}

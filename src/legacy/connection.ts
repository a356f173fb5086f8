import type { LayerAnswer, NodeAnswer } from '../api/schemas.ts';
import { HyperscaleError } from '../errors.ts';
import type { Call } from './call.ts';
import { unlessAbsent, volumePath } from './daemon.ts';
import { textField } from './fields.ts';
import { deviceNameOf, volumeNameOf } from './names.ts';

/** A failed connect waits at most so long until what it began is undone. */
const undoMs = 5_000;

/**
 * Makes a volume usable on this node as the block device that the connector expects. What failed is
 * undone, unless the volume was attached here before. Every step may be repeated: after a call that
 * was cut off, the same call, or a disconnect, puts things right.
 */
export async function connectVolume({ daemon, body }: Call): Promise<unknown> {
  const given = textField(body, 'volume_guid');
  const name = volumeNameOf(given);
  const path = volumePath(name);
  const device = deviceNameOf(given);
  const host = await daemon.node();
  // Asked at the same time: as it was before this call, or with what this call has done already.
  const nodesAsked = daemon.ask<{ nodes: NodeAnswer[] }>('GET', '/v1/nodes');
  const wish = { name: device, attach: true };
  const deviceAsked = daemon.askOfKnown('PUT', `${attachmentPath(path, host)}/device`, wish);
  try {
    const [{ nodes }] = await Promise.all([nodesAsked, deviceAsked]);
    const { layers } = await daemon.ask<{ layers: LayerAnswer[] }>('GET', `${path}/layers`);
    return placeOf(layers, nodes, host);
  } catch (error) {
    // What cannot be undone now is told by the error that led here; a disconnect does it later.
    await undo(daemon, name, host, nodesAsked).catch(() => undefined);
    throw error;
  }
}

/** Detaches the volume here, unless it was attached before. */
async function undo(
  daemon: Call['daemon'],
  name: string,
  host: string,
  nodesAsked: Promise<{ nodes: NodeAnswer[] }>,
): Promise<void> {
  const { nodes } = await nodesAsked;
  if (nodes.some((node) => node.name === host && node.attached.includes(name))) return;
  await daemon.ask('DELETE', attachmentPath(volumePath(name), host), undefined, undoMs);
}

function attachmentPath(path: string, host: string): string {
  return `${path}/attachments/${encodeURIComponent(host)}`;
}

/** Takes the device and the attachment away; what is not there is no error. */
export async function disconnectVolume({ daemon, body }: Call): Promise<unknown> {
  const path = volumePath(volumeNameOf(textField(body, 'volume_guid')));
  const attachment = attachmentPath(path, await daemon.node());
  await unlessAbsent(daemon.ask('DELETE', `${attachment}/device`));
  await unlessAbsent(daemon.ask('DELETE', attachment));
  return {};
}

/** Who serves what is written to a volume, and which nodes have the other copies of it. */
export type Place = { vsa_ip: string; refl_factor: string; refl_targets: string };

/**
 * @param layers of the volume, oldest first; the copies of the newest are on the nodes that write
 *   now, the one that serves first.
 * @param host what serves while there is no layer yet.
 */
export function placeOf(
  layers: readonly LayerAnswer[],
  nodes: readonly NodeAnswer[],
  host: string,
): Place {
  const address = (name: string): string => {
    const node = nodes.find((n) => n.name === name);
    if (node === undefined) {
      throw new HyperscaleError('inconsistent', `node ${name} holds a copy and is not known`, {
        hint: 'hscli cluster fsck',
      });
    }
    return node.address;
  };
  const copies = layers.at(-1)?.copies.map((copy) => copy.node) ?? [];
  const [server = host, ...targets] = copies;
  return {
    vsa_ip: address(server),
    refl_factor: String(targets.length),
    refl_targets: targets.map(address).join(','),
  };
}

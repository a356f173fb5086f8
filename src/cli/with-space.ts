import type { NodeAnswer, VolumeDetailAnswer } from '../api/schemas.ts';
import type { NodeSpaceAnswer, VolumeSpaceAnswer } from '../api/space-schemas.ts';
import type { Client } from './client.ts';

/** `space` null: it could not be measured; what else is known is shown all the same. */
export type VolumeWithSpace = VolumeDetailAnswer & { space: VolumeSpaceAnswer | null };
export type NodeWithSpace = NodeAnswer & { space: NodeSpaceAnswer | null };

export async function volumeWithSpace(client: Client, name: string): Promise<VolumeWithSpace> {
  const measured = client.volumeSpace(name).catch(() => null);
  const volume = await client.volume(name);
  return { ...volume, space: await measured };
}

export async function nodeWithSpace(client: Client, name: string): Promise<NodeWithSpace> {
  const measured = client.nodeSpace(name).catch(() => null);
  const node = await client.node(name);
  return { ...node, space: await measured };
}

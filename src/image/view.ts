import type { ImageAnswer } from '../api/image-schemas.ts';
import { policyView } from '../api/views.ts';
import { clonesOf } from '../volume/marks.ts';
import type { NodeView, Volume } from '../volume/types.ts';

/** What the API tells of an image. */
export function imageView(image: Volume, nodes: readonly NodeView[]): ImageAnswer {
  const layer = image.chain.at(-1);
  const isUp = (node: string, pool: string) =>
    nodes.some((n) => n.name === node && n.pool === pool && n.lease !== null);
  const { id, name, sizeBytes, createdAt } = image;
  return {
    id,
    name,
    sizeBytes,
    createdAt,
    usedAt: image.usedAt ?? null,
    state: image.importing === undefined ? 'ready' : 'importing',
    format: image.file?.format ?? null,
    fileBytes: image.file?.bytes ?? null,
    checksum: image.file === undefined ? null : `sha256:${image.file.sha256}`,
    bytes: layer?.bytes ?? null,
    policy: policyView(image.policy),
    copies: (layer?.replicas ?? []).map(({ node, pool, state }) => ({
      node,
      state,
      up: isUp(node, pool),
    })),
    clones: clonesOf(image).length,
  };
}

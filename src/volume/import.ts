/**
 * Images, adopted and restored volumes: a record whose first layer is made of a file or a backup. The record comes first, so
 * that its name is taken and a deletion knows of the layer; nobody can use it before it is complete.
 */
import { createVolume } from './create.ts';
import { flattenedEpoch } from './flatten.ts';
import { refuse } from './refuse.ts';
import type { ImportedFile, LayerId, NodeName, PoolId, RestoredFrom, Volume } from './types.ts';

/** The epoch of the layer that an import makes. */
export const importedEpoch = flattenedEpoch;

/** What a record is made of. */
export type ImportOrigin = { file: ImportedFile } | { restoredFrom: RestoredFrom };

/** The record of what is being imported on a node. */
export function beginImport(
  request: Parameters<typeof createVolume>[0] & ImportOrigin & { as: 'image' | 'volume' },
  importing: { node: NodeName; pool: PoolId; layer: LayerId },
): Volume {
  const { as, ...wanted } = request;
  return {
    ...createVolume(wanted),
    epoch: importedEpoch,
    ...(as === 'image' ? { role: 'image' } : {}),
    importing,
  };
}

/**
 * The layer is on stable storage on its node; repair makes more copies of it.
 * @throws `conflict` when it is another layer that is being imported, or none, as after a deletion.
 */
export function completeImport(
  volume: Volume,
  id: LayerId,
  proof: { root: string; bytes: number },
): Volume {
  const { importing, ...rest } = volume;
  if (importing?.layer !== id || volume.tail.phase !== 'idle') {
    return refuse(volume, 'import', `layer ${id} is not being imported`);
  }
  const { node, pool } = importing;
  return {
    ...rest,
    chain: [
      {
        id,
        epoch: importedEpoch,
        sizeBytes: volume.sizeBytes,
        manifest: proof.root,
        bytes: proof.bytes,
        authority: node,
        replicas: [{ node, pool, state: 'clean' }],
      },
    ],
  };
}

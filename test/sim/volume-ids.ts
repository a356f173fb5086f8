import type { Environment } from '../../src/node/context.ts';

/** Makes ids of volumes as real ones are, of the chance of the history. */
export function simVolumeIds({ randomId }: Pick<Environment, 'randomId'>): () => string {
  return () => {
    const id = randomId();
    const parts = [0, 8, 12, 16, 20, 32];
    return parts
      .slice(1)
      .map((end, i) => id.slice(parts[i], end))
      .join('-');
  };
}

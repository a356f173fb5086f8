import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../engine/durable.ts';
import type { WriteDurably } from '../engine/reserve.ts';
import type { Scrubbed } from './scrub-plan.ts';

/** Where a node remembers when it last read each of its copies. */
export interface ScrubMemory {
  /** Null when there is nothing that can be believed; then nothing is known to have been read. */
  read(): Promise<Scrubbed | null>;
  /** Replaces it; after a power cut the old or the new is there. */
  write(scrubbed: Scrubbed): Promise<void>;
}

/** In the pool, because it is about the copies there: one line for each of them. */
export function scrubMemoryIn(pool: string, writes: WriteDurably = writeDurably): ScrubMemory {
  const path = join(pool, 'scrub-times.json');
  return {
    async read() {
      try {
        const found: unknown = JSON.parse(await readFile(path, 'utf8'));
        return isScrubbed(found) ? found : null;
      } catch {
        // Missing or broken: everything is read once more than necessary.
        return null;
      }
    },
    write: (scrubbed) => writes(path, `${JSON.stringify(scrubbed)}\n`),
  };
}

function isScrubbed(found: unknown): found is Scrubbed {
  return (
    typeof found === 'object' &&
    found !== null &&
    !Array.isArray(found) &&
    Object.values(found).every((at) => typeof at === 'string')
  );
}

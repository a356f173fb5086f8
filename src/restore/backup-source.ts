import type { BackupReader } from '../backup/index.ts';
import { HyperscaleError } from '../errors.ts';
import type { BlockSource, SourceExtent } from './block-source.ts';

/** Parts that one answer tells of; the asker asks again for the rest. */
const mostExtents = 1_024;

/**
 * A backup as blocks.
 * @param sizeBytes what is shown; zeros follow where the backup ends.
 */
export class BackupBlocks implements BlockSource {
  readonly sizeBytes: number;
  readonly #reader: BackupReader;

  constructor(reader: BackupReader, sizeBytes: number) {
    if (sizeBytes < reader.entry.sizeBytes) {
      throw new HyperscaleError('bad-input', `the backup is larger than ${sizeBytes} bytes`, {
        values: { sizeBytes, backupBytes: reader.entry.sizeBytes },
      });
    }
    this.sizeBytes = sizeBytes;
    this.#reader = reader;
  }

  async read(offset: number, length: number, signal: AbortSignal): Promise<Buffer> {
    const there = this.#there(offset, length);
    const content = await this.#reader.readRange(Math.min(offset, this.#end), there, signal);
    return there === length ? content : Buffer.concat([content, Buffer.alloc(length - there)]);
  }

  async extents(offset: number, length: number, signal: AbortSignal): Promise<SourceExtent[]> {
    const there = this.#there(offset, length);
    const found: SourceExtent[] = [];
    let told = 0;
    for await (const { length: bytes, zero } of this.#reader.extents(offset, there, signal)) {
      const last = found.at(-1);
      if (last?.zero === zero) last.length += bytes;
      else if (found.length === mostExtents) return found;
      else found.push({ length: bytes, zero });
      told += bytes;
    }
    if (told < length) found.push({ length: length - told, zero: true });
    return found;
  }

  get #end(): number {
    return this.#reader.entry.sizeBytes;
  }

  /** Bytes of a range that the backup has. */
  #there(offset: number, length: number): number {
    return Math.max(0, Math.min(length, this.#end - offset));
  }
}

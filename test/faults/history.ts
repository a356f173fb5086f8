/** What clients did to single blocks, and when: the evidence that `register.ts` judges. */
import { blockBytes } from '../../lab/volatile-disk.ts';

/** Times are milliseconds of one monotonic clock. */
export type Operation = {
  kind: 'write' | 'read';
  /** What was written, or what was seen; every value is written once, 0 is a block of zeros. */
  value: number;
  invoked: number;
  /**
   * When it was answered. For a write that never was: the time after which it cannot take effect
   * any more, because its consumer is gone and the next one is served; infinite until then.
   */
  completed: number;
  /** False for a write that was never answered: it took effect, or it did not. */
  acknowledged: boolean;
  client: string;
};

/** A read that saw neither zeros nor one value in all of the block. */
export const torn = -1;

export class History {
  readonly #blocks = new Map<number, Operation[]>();
  #values = 0;
  /** Bytes of all writes that were acknowledged. */
  writtenBytes = 0;

  nextValue(): number {
    this.#values += 1;
    return this.#values;
  }

  add(block: number, operation: Operation): void {
    const operations = this.#blocks.get(block);
    if (operations === undefined) this.#blocks.set(block, [operation]);
    else operations.push(operation);
    if (operation.kind === 'write' && operation.acknowledged) this.writtenBytes += blockBytes;
  }

  /** Writes of a client that were not answered can take effect no later than now. */
  settle(client: string, now: number): void {
    for (const operations of this.#blocks.values()) {
      for (const operation of operations) {
        const open = operation.completed === Number.POSITIVE_INFINITY;
        if (open && operation.client === client) operation.completed = now;
      }
    }
  }

  get blocks(): ReadonlyMap<number, readonly Operation[]> {
    return this.#blocks;
  }

  get size(): number {
    return [...this.#blocks.values()].reduce((sum, operations) => sum + operations.length, 0);
  }
}

/** The content of a block: its value and its number, again and again. */
export function contentOf(block: number, value: number): Buffer {
  const piece = Buffer.alloc(16);
  piece.writeUInt32LE(value, 0);
  piece.writeUInt32LE(block, 4);
  piece.write('register', 8, 'latin1');
  return Buffer.alloc(blockBytes, piece);
}

/** The value that a block's content stands for; `torn` when it is nobody's. */
export function valueIn(block: number, content: Buffer): number {
  const value = content.readUInt32LE(0);
  if (value === 0) return content.equals(Buffer.alloc(blockBytes)) ? 0 : torn;
  return content.equals(contentOf(block, value)) ? value : torn;
}

/**
 * References to stored objects, and lists of them. A page is the list of 1,024 neighbouring chunks,
 * a root is the list of all pages; so a backup that changes little shares most pages with others.
 */
import { HyperscaleError } from '../errors.ts';

export type Ref = {
  /** The session that wrote the object. */
  session: string;
  /** SHA-256 (or keyed, HMAC-SHA-256) of what the object holds, hexadecimal. */
  digest: string;
  /** Length of the stored object, as it lies in the target. */
  bytes: number;
};

/** Chunks that one page names. */
export const pageChunks = 1024;

const sessionBytes = 16;
const digestBytes = 32;
const refBytes = sessionBytes + digestBytes + 4;

/** A list of fixed length; null stands for content that is all zeros and not stored. */
export class RefList {
  readonly length: number;
  readonly #records: Buffer;

  private constructor(records: Buffer) {
    this.#records = records;
    this.length = records.length / refBytes;
  }

  static zeros(length: number): RefList {
    return new RefList(Buffer.alloc(length * refBytes));
  }

  /** @throws `damaged` when the bytes are no list of that length. */
  static decode(content: Buffer, length: number): RefList {
    if (content.length === length * refBytes) return new RefList(content);
    const text = `an index has ${content.length} bytes instead of ${length * refBytes}`;
    throw new HyperscaleError('damaged', text);
  }

  static encodedBytes(length: number): number {
    return length * refBytes;
  }

  encode(): Buffer {
    return this.#records;
  }

  get(index: number): Ref | null {
    const start = this.#start(index);
    const record = this.#records.subarray(start, start + refBytes);
    const bytes = record.readUInt32BE(sessionBytes + digestBytes);
    if (bytes === 0) return null;
    return {
      session: record.toString('hex', 0, sessionBytes),
      digest: record.toString('hex', sessionBytes, sessionBytes + digestBytes),
      bytes,
    };
  }

  set(index: number, ref: Ref | null): void {
    const start = this.#start(index);
    this.#records.fill(0, start, start + refBytes);
    if (ref === null) return;
    this.#records.write(ref.session, start, 'hex');
    this.#records.write(ref.digest, start + sessionBytes, 'hex');
    this.#records.writeUInt32BE(ref.bytes, start + sessionBytes + digestBytes);
  }

  isZero(): boolean {
    return this.#records.equals(Buffer.alloc(this.#records.length));
  }

  #start(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.length) return index * refBytes;
    throw new HyperscaleError('internal', `reference ${index} of ${this.length}`);
  }
}

export function sameObject(a: Ref | null, b: Ref | null): boolean {
  if (a === null || b === null) return a === b;
  return a.session === b.session && a.digest === b.digest;
}

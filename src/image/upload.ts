import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { onDisk, unlinkIfThere, writeAll } from '../engine/durable.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { copyAgain, refuseImage } from './refuse.ts';
import { PoolRoom, type Space } from './room.ts';

/** A file that was received whole. */
export type Upload = { path: string; bytes: number; sha256: string };

/** A sender that is silent for so long is taken for gone. */
const idleMs = 120_000;
/** How much may be written between two looks at the free space of the pool. */
const lookBytes = 64 * 2 ** 20;
const zeros = Buffer.alloc(2 ** 20);

/** Files on their way into the pool, in a directory of their own, which nothing survives. */
export class Uploads {
  readonly #directory: string;
  readonly #space: Space;

  private constructor(directory: string, space: Space) {
    this.#directory = directory;
    this.#space = space;
  }

  /** Removes what an earlier run of the daemon did not finish. @param pool its directory */
  static async open(pool: string, space: Space): Promise<Uploads> {
    const directory = join(pool, 'imports');
    await mkdir(directory, { recursive: false, mode: 0o700 }).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    });
    for (const name of await readdir(directory)) {
      await rm(join(directory, name), { recursive: true, force: true });
    }
    return new Uploads(directory, space);
  }

  /**
   * Writes a stream to a file, with holes where there are zeros.
   * @param wanted.mostBytes what is longer is refused.
   * @param wanted.sha256 what it must have, as 64 hex digits; null: whatever it has.
   * @throws `bad-input` when it is longer or another file, `no-space`, `cancelled` when the sender goes
   *   away, `timeout` when it is silent; nothing is left then.
   */
  async receive(
    body: Readable,
    wanted: { mostBytes: number; sha256: string | null },
    signal: AbortSignal,
  ): Promise<Upload> {
    const path = join(this.#directory, `${randomBytes(8).toString('hex')}.upload`);
    try {
      const upload = await onDisk(path, () => this.#write(body, path, wanted.mostBytes, signal));
      checkSum(upload, wanted.sha256);
      return upload;
    } catch (error) {
      await unlinkIfThere(path);
      throw error;
    }
  }

  async remove({ path }: Upload): Promise<void> {
    await unlinkIfThere(path);
  }

  async #write(
    body: Readable,
    path: string,
    mostBytes: number,
    signal: AbortSignal,
  ): Promise<Upload> {
    const room = new PoolRoom(this.#space);
    await room.look();
    const hash = createHash('sha256');
    const file = await open(path, 'wx', 0o600);
    let bytes = 0;
    let looked = 0;
    try {
      for await (const chunk of arriving(body, signal)) {
        if (bytes + chunk.length > mostBytes) {
          refuseImage(`the file is longer than ${mostBytes} bytes`, 'Allow more with --max-size.');
        }
        hash.update(chunk);
        if (!isZero(chunk)) await writeAll(file, chunk, bytes);
        bytes += chunk.length;
        if (bytes - looked < lookBytes) continue;
        looked = bytes;
        await room.look();
      }
      await file.truncate(bytes);
    } finally {
      await file.close();
    }
    return { path, bytes, sha256: hash.digest('hex') };
  }
}

/**
 * What a stream brings, until it ends, breaks, falls silent, or is no longer wanted. The stream itself
 * is left as it is: its sender may be waiting for an answer.
 */
async function* arriving(body: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  const taken = new PassThrough();
  const broken = (error: Error) => {
    const text = `the sender went away: ${errorText(error)}`;
    taken.destroy(new HyperscaleError('cancelled', text, { cause: error }));
  };
  const left = () => {
    if (!body.readableEnded) broken(new Error('it closed the connection'));
  };
  const cancelled = () => {
    taken.destroy(new HyperscaleError('cancelled', 'the import was cancelled'));
  };
  const silent = () => {
    const text = `the upload was given up: nothing came for ${idleMs / 1_000} s`;
    taken.destroy(new HyperscaleError('timeout', text));
  };
  body.once('error', broken);
  body.once('close', left);
  signal.addEventListener('abort', cancelled, { once: true });
  let timer = setTimeout(silent, idleMs);
  try {
    if (signal.aborted) cancelled();
    else if (body.destroyed) left();
    else body.pipe(taken);
    for await (const chunk of taken) {
      clearTimeout(timer);
      yield chunk as Buffer;
      timer = setTimeout(silent, idleMs);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cancelled);
    body.off('close', left);
    body.unpipe(taken);
  }
}

function checkSum(upload: Upload, wanted: string | null): void {
  if (wanted === null || wanted === upload.sha256) return;
  throw new HyperscaleError(
    'bad-input',
    `the image is refused: its checksum is sha256:${upload.sha256}, not sha256:${wanted}`,
    { hint: copyAgain, values: { expected: wanted, found: upload.sha256, bytes: upload.bytes } },
  );
}

function isZero(chunk: Buffer): boolean {
  for (let at = 0; at < chunk.length; at += zeros.length) {
    const part = chunk.subarray(at, at + zeros.length);
    if (!part.equals(zeros.subarray(0, part.length))) return false;
  }
  return true;
}

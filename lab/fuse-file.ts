/**
 * One regular file whose content this process serves: as much of the FUSE protocol as that needs
 * (include/uapi/linux/fuse.h, version 7.31). No kernel module beside fuse itself is wanted, and no
 * library: mount(8) takes over the descriptor.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, read, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { HyperscaleError } from '../src/errors.ts';

const opcode = {
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
} as const;

const inHeaderBytes = 40;
const outHeaderBytes = 16;
const attributesBytes = 104;
const version = { major: 7, minor: 31 };
/** FUSE_BIG_WRITES and FUSE_MAX_PAGES: requests of more than one page. */
const initFlags = 0x20 | 0x40_0000;
/** FOPEN_DIRECT_IO: the kernel keeps no copy, so what we lose is lost. */
const directIo = 1;
const pageBytes = 4096;
const maxPages = 64;
const maxWrite = maxPages * pageBytes;
/** Regular file, for its owner alone. */
const mode = 0o100600;
/** Nodes and attributes never change. */
const validSeconds = 86_400n;

/** What the file does; a rejection with an error code of the system (`EIO`) is what callers get. */
export type FileContent = {
  sizeBytes: number;
  read(offset: number, length: number): Promise<Buffer>;
  /** `content` is valid until the promise is settled. */
  write(offset: number, content: Buffer): Promise<void>;
  /** All that was written goes to stable storage. */
  flush(): Promise<void>;
};

export class FuseFile {
  readonly #device: number;
  readonly #content: FileContent;
  /** Buffers of requests that were answered. */
  readonly #free: Buffer[] = [];
  /** Resolves once the file is unmounted. */
  readonly ended: Promise<void>;

  /** Mounts over the existing regular file `path`, and serves it until it is unmounted. */
  constructor(path: string, content: FileContent) {
    this.#content = content;
    this.#device = openSync('/dev/fuse', 'r+');
    const options = `fd=3,rootmode=${mode.toString(8)},user_id=0,group_id=0`;
    const mount = ['-i', '-t', 'fuse', '-o', options, 'hyperscale-lab', path];
    try {
      execFileSync('mount', mount, { stdio: ['ignore', 'pipe', 'pipe', this.#device] });
    } catch (error) {
      closeSync(this.#device);
      throw new HyperscaleError('internal', `cannot mount a file of our own: ${String(error)}`, {
        hint: 'A lab with disks that fail needs root and /dev/fuse.',
        cause: error,
      });
    }
    this.ended = this.#serve();
  }

  async #serve(): Promise<void> {
    for (;;) {
      const request = await this.#next();
      if (request === null) break;
      // Not awaited: a slow request does not hold up the others.
      this.#answer(request)
        .catch((error: unknown) => this.#refuse(request, error))
        .finally(() => this.#free.push(request));
    }
    closeSync(this.#device);
  }

  /** The next request; null when the file was unmounted. */
  #next(): Promise<Buffer | null> {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafe(maxWrite + pageBytes);
    return new Promise((resolve, reject) => {
      const again = () =>
        read(this.#device, buffer, 0, buffer.length, null, (error) => {
          if (error === null) resolve(buffer);
          else if (error.code === 'ENODEV') resolve(null);
          // The caller was killed before we had read its request.
          else if (error.code === 'ENOENT' || error.code === 'EINTR') again();
          else reject(error);
        });
      again();
    });
  }

  async #answer(request: Buffer): Promise<void> {
    const body = request.subarray(inHeaderBytes);
    switch (request.readUInt32LE(4)) {
      case opcode.forget:
      case opcode.batchForget:
      case opcode.interrupt:
        return; // These have no answer.
      case opcode.init:
        return this.#reply(request, initAnswer(body));
      case opcode.getattr:
      case opcode.setattr:
        return this.#reply(request, attributes(this.#content.sizeBytes));
      case opcode.open: {
        const opened = Buffer.alloc(16);
        opened.writeUInt32LE(directIo, 8);
        return this.#reply(request, opened);
      }
      case opcode.read: {
        const [offset, wanted] = [Number(body.readBigUInt64LE(8)), body.readUInt32LE(16)];
        const length = Math.max(0, Math.min(wanted, this.#content.sizeBytes - offset));
        return this.#reply(request, await this.#content.read(offset, length));
      }
      case opcode.write: {
        const [offset, length] = [Number(body.readBigUInt64LE(8)), body.readUInt32LE(16)];
        await this.#content.write(offset, body.subarray(40, 40 + length));
        const written = Buffer.alloc(8);
        written.writeUInt32LE(length);
        return this.#reply(request, written);
      }
      case opcode.fsync:
        await this.#content.flush();
        return this.#reply(request);
      case opcode.flush:
      case opcode.release:
      case opcode.destroy:
        return this.#reply(request);
      default:
        throw Object.assign(new Error('not implemented'), { code: 'ENOSYS' });
    }
  }

  #refuse(request: Buffer, error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'EIO';
    const known = constants.errno as Record<string, number>;
    this.#reply(request, undefined, -(known[code] ?? constants.errno.EIO));
  }

  #reply(request: Buffer, body: Buffer = Buffer.alloc(0), error = 0): void {
    const header = Buffer.alloc(outHeaderBytes);
    header.writeUInt32LE(outHeaderBytes + body.length, 0);
    header.writeInt32LE(error, 4);
    request.copy(header, 8, 8, 16);
    try {
      writeSync(this.#device, Buffer.concat([header, body]));
    } catch (failure) {
      // The one who asked is gone, or the file was unmounted meanwhile.
      const gone = failure instanceof Error && 'code' in failure;
      if (!gone || !['ENOENT', 'ENODEV', 'EBADF'].includes(String(failure.code))) throw failure;
    }
  }
}

function initAnswer(asked: Buffer): Buffer {
  const answer = Buffer.alloc(64);
  answer.writeUInt32LE(version.major, 0);
  answer.writeUInt32LE(version.minor, 4);
  asked.copy(answer, 8, 8, 12); // read-ahead, as the kernel likes it
  answer.writeUInt32LE(initFlags, 12);
  answer.writeUInt16LE(128, 16); // requests in the background
  answer.writeUInt16LE(96, 18); // of which so many make it congested
  answer.writeUInt32LE(maxWrite, 20);
  answer.writeUInt32LE(1, 24); // times are exact to 1 ns
  answer.writeUInt16LE(maxPages, 28);
  return answer;
}

function attributes(sizeBytes: number): Buffer {
  const answer = Buffer.alloc(attributesBytes);
  answer.writeBigUInt64LE(validSeconds, 0);
  answer.writeBigUInt64LE(1n, 16); // inode
  answer.writeBigUInt64LE(BigInt(sizeBytes), 24);
  answer.writeBigUInt64LE(BigInt(Math.ceil(sizeBytes / 512)), 32);
  answer.writeUInt32LE(mode, 76);
  answer.writeUInt32LE(1, 80); // links
  answer.writeUInt32LE(pageBytes, 96);
  return answer;
}

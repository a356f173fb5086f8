/** A read-only NBD server: QEMU reads blocks from it that are not here yet. */
import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { unlinkIfThere } from '../engine/durable.ts';
import { errorText } from '../errors.ts';
import type { BlockSource } from './block-source.ts';
import { type Agreed, handshake } from './nbd-handshake.ts';
import {
  allocationContextId,
  chunk,
  command,
  errno,
  holeAndZero,
  lastChunk,
  magic,
  maxReadBytes,
} from './nbd-words.ts';
import { SocketInput } from './socket-input.ts';

/** Requests of one connection that are worked on at a time; QEMU sends no more than 16. */
const maxUnderWay = 16;
const maxMessageBytes = 1_024;
const keepAliveMs = 30_000;

type Request = { kind: number; cookie: bigint; offset: number; length: number };

/** A socket that root alone may use, or a TCP port. */
export type NbdPlace = { path: string } | { host: string; port: number };

export type NbdOptions = {
  /** Told of each read that fails; its client gets an I/O error. */
  onError: (error: unknown) => void;
  /** Of the export; absent: it is served by any name. */
  name?: string;
};

export class NbdServer {
  readonly #source: BlockSource;
  readonly #server: Server;
  readonly #place: NbdPlace;
  readonly #options: NbdOptions;
  readonly #ended = new AbortController();
  readonly #sockets = new Set<Socket>();

  private constructor(place: NbdPlace, source: BlockSource, options: NbdOptions) {
    this.#place = place;
    this.#source = source;
    this.#options = options;
    this.#server = createServer((socket) => {
      socket.setNoDelay(true);
      // A host that lost its power says no farewell.
      socket.setKeepAlive(true, keepAliveMs);
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#sockets.delete(socket));
      this.#serve(socket).then(
        () => socket.destroy(),
        () => socket.destroy(),
      );
    });
  }

  /** Serves a source. @throws when the place cannot be had */
  static async listen(
    place: NbdPlace,
    source: BlockSource,
    options: NbdOptions,
  ): Promise<NbdServer> {
    if ('path' in place) await unlinkIfThere(place.path);
    const nbd = new NbdServer(place, source, options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    nbd.#server.once('error', reject);
    nbd.#server.listen({ ...place, exclusive: true }, resolve);
    await promise;
    if ('path' in place) await chmod(place.path, 0o600);
    return nbd;
  }

  /** Clients that are connected now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Null for a Unix socket. */
  get port(): number | null {
    return 'port' in this.#place ? this.#place.port : null;
  }

  /** Drops all connections, and ends reads that are under way. */
  async close(): Promise<void> {
    this.#ended.abort();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    if ('path' in this.#place) await unlinkIfThere(this.#place.path);
  }

  async #serve(socket: Socket): Promise<void> {
    const input = new SocketInput(socket);
    const agreed = await handshake(
      socket,
      input,
      this.#source.sizeBytes,
      this.#options.name ?? null,
    );
    if (agreed === null) return;
    const underWay = new Set<Promise<void>>();
    for (;;) {
      const request = requestIn(await input.take(28));
      if (request === null || request.kind === command.disconnect) break;
      const work = this.#reply(request, agreed)
        .then((reply) => sent(socket, reply))
        .finally(() => underWay.delete(work));
      underWay.add(work);
      if (underWay.size >= maxUnderWay) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }

  async #reply(request: Request, agreed: Agreed): Promise<Buffer> {
    try {
      return await this.#answer(request, agreed);
    } catch (error) {
      const ended = this.#ended.signal.aborted;
      if (!ended) this.#options.onError(error);
      const text = errorText(error);
      return refusal(request, agreed, ended ? errno.shutdown : errno.io, text);
    }
  }

  async #answer(request: Request, agreed: Agreed): Promise<Buffer> {
    const { kind, offset, length, cookie } = request;
    const { signal } = this.#ended;
    const inside = length > 0 && offset + length <= this.#source.sizeBytes;
    const known = kind === command.read || (kind === command.blockStatus && agreed.allocation);
    if (!inside || !known || (kind === command.read && length > maxReadBytes)) {
      return refusal(request, agreed, errno.invalid, 'this cannot be asked for');
    }
    if (kind === command.blockStatus) {
      const extents = await this.#source.extents(offset, length, signal);
      const content = Buffer.alloc(4 + 8 * extents.length);
      content.writeUInt32BE(allocationContextId, 0);
      for (const [i, extent] of extents.entries()) {
        content.writeUInt32BE(extent.length, 4 + 8 * i);
        content.writeUInt32BE(extent.zero ? holeAndZero : 0, 8 + 8 * i);
      }
      return structured(cookie, chunk.blockStatus, content);
    }
    const content = await this.#source.read(offset, length, signal);
    if (!agreed.structured) return Buffer.concat([simple(cookie, 0), content]);
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(offset), 0);
    return structured(cookie, chunk.offsetData, place, content);
  }
}

/** Resolves when it is on its way, or nobody waits for it any more. */
async function sent(socket: Socket, reply: Buffer): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    socket.write(reply, () => resolve());
  });
}

/** Null when the client is gone, or is none. */
function requestIn(header: Buffer | null): Request | null {
  if (header === null || header.readUInt32BE(0) !== magic.request) return null;
  return {
    kind: header.readUInt16BE(6),
    cookie: header.readBigUInt64BE(8),
    offset: Number(header.readBigUInt64BE(16)),
    length: header.readUInt32BE(24),
  };
}

function refusal({ cookie }: Request, agreed: Agreed, code: number, text: string): Buffer {
  if (!agreed.structured) return simple(cookie, code);
  const message = Buffer.from(text).subarray(0, maxMessageBytes);
  const error = Buffer.alloc(6);
  error.writeUInt32BE(code, 0);
  error.writeUInt16BE(message.length, 4);
  return structured(cookie, chunk.error, error, message);
}

function simple(cookie: bigint, error: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(magic.simpleReply, 0);
  header.writeUInt32BE(error, 4);
  header.writeBigUInt64BE(cookie, 8);
  return header;
}

/** A reply of one chunk. */
function structured(cookie: bigint, type: number, ...content: Buffer[]): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt32BE(magic.structuredReply, 0);
  header.writeUInt16BE(lastChunk, 4);
  header.writeUInt16BE(type, 6);
  header.writeBigUInt64BE(cookie, 8);
  header.writeUInt32BE(
    content.reduce((sum, part) => sum + part.length, 0),
    16,
  );
  return Buffer.concat([header, ...content]);
}

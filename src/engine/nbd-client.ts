import { connect, type Socket } from 'node:net';
import { HyperscaleError } from '../errors.ts';

/**
 * As much of an NBD client as a heartbeat and a reader need (fixed newstyle handshake, one read at a
 * time), after https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
const magic = {
  server: Buffer.from('NBDMAGIC'),
  option: Buffer.from('IHAVEOPT'),
  optionReply: 0x3e889045565a9n,
  request: 0x25609513,
  reply: 0x67446698,
} as const;
const option = { info: 6, go: 7 } as const;
const optionReply = { ack: 1, info: 3, errorBit: 0x8000_0000 } as const;
const infoExport = 0;
const infoBlockSize = 3;
const flagReadOnly = 0b10;
const clientFlags = 0b11; // fixed newstyle, no zeroes

/** Nothing that a server has to say in the handshake is longer. */
const maxReply = 4096;

/**
 * Reads exact numbers of bytes from a socket. The socket is paused while nobody asks, so that no
 * more than one chunk is kept.
 */
class Input {
  readonly #socket: Socket;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('readable', () => this.#wake?.());
    socket.on('error', (error) => this.#fail(error));
    socket.on('end', () => this.#fail(ended()));
    socket.on('close', () => this.#fail(ended()));
  }

  async take(bytes: number): Promise<Buffer> {
    for (;;) {
      const chunk = this.#socket.read(bytes) as Buffer | null;
      if (chunk !== null && chunk.length === bytes) return chunk;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
}

function ended(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' });
}

/** What a server tells of an export. */
type ExportInfo = { readOnly: boolean; sizeBytes: number };

/** Where a server listens. */
type Server = { host: string; port: number } | { path: string };

/** A connection to one export. Not for concurrent reads. */
export class NbdConnection {
  readonly #socket: Socket;
  readonly #input: Input;
  #cookie = 0n;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#input = new Input(socket);
  }

  /** Opens an export for reading; `onSocket` gets the socket at once, to destroy it. */
  static async open(
    address: string,
    port: number,
    name: string,
    onSocket: (socket: Socket) => void,
  ): Promise<NbdConnection> {
    return (await NbdConnection.#open({ host: address, port }, name, onSocket)).connection;
  }

  /** Opens an export of a server on this host. @returns the connection, and its size in bytes */
  static async openUnix(
    path: string,
    name: string,
    onSocket: (socket: Socket) => void,
  ): Promise<{ connection: NbdConnection; sizeBytes: number }> {
    return NbdConnection.#open({ path }, name, onSocket);
  }

  static async #open(
    server: Server,
    name: string,
    onSocket: (socket: Socket) => void,
  ): Promise<{ connection: NbdConnection; sizeBytes: number }> {
    const connection = await NbdConnection.#connect(server, onSocket);
    const info = await connection.#option(option.go, name);
    if (info === null) {
      throw new HyperscaleError('not-found', `${textOf(server)} has no export ${name}`);
    }
    return { connection, sizeBytes: info.sizeBytes };
  }

  /** What the server tells of the export of that name; null when it has none. */
  static async find(
    address: string,
    port: number,
    name: string,
    onSocket: (socket: Socket) => void,
  ): Promise<ExportInfo | null> {
    const connection = await NbdConnection.#connect({ host: address, port }, onSocket);
    return await connection.#option(option.info, name);
  }

  static async #connect(
    server: Server,
    onSocket: (socket: Socket) => void,
  ): Promise<NbdConnection> {
    const socket = connect({ ...server, noDelay: true });
    onSocket(socket);
    const connection = new NbdConnection(socket);
    const hello = await connection.#input.take(18);
    if (!hello.subarray(0, 8).equals(magic.server) || !hello.subarray(8, 16).equals(magic.option)) {
      throw new HyperscaleError('engine', `${textOf(server)} is not an NBD server`);
    }
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(clientFlags);
    socket.write(flags);
    return connection;
  }

  /** Reads `length` bytes. @throws `engine` on an error reply */
  async read(offset: number, length: number): Promise<Buffer> {
    const request = Buffer.alloc(28);
    request.writeUInt32BE(magic.request, 0);
    request.writeBigUInt64BE(++this.#cookie, 8);
    request.writeBigUInt64BE(BigInt(offset), 16);
    request.writeUInt32BE(length, 24);
    this.#socket.write(request);
    const reply = await this.#input.take(16);
    if (reply.readUInt32BE(0) !== magic.reply || reply.readBigUInt64BE(8) !== this.#cookie) {
      throw new HyperscaleError('engine', 'an NBD reply is not the one that is expected');
    }
    const error = reply.readUInt32BE(4);
    if (error !== 0) throw new HyperscaleError('engine', `NBD read failed with error ${error}`);
    return this.#input.take(length);
  }

  /** Sends an option about an export. @returns what the server tells of it, null when it refuses */
  async #option(kind: number, name: string): Promise<ExportInfo | null> {
    const text = Buffer.from(name);
    const message = Buffer.alloc(16 + 4 + text.length + 4);
    magic.option.copy(message, 0);
    message.writeUInt32BE(kind, 8);
    message.writeUInt32BE(4 + text.length + 4, 12);
    message.writeUInt32BE(text.length, 16);
    text.copy(message, 20);
    // Without a question for it, QEMU refuses a client of an export that has a block size.
    message.writeUInt16BE(1, 20 + text.length);
    message.writeUInt16BE(infoBlockSize, 22 + text.length);
    this.#socket.write(message);
    let readOnly = false;
    let sizeBytes = 0;
    for (;;) {
      const reply = await this.#input.take(20);
      const [type, length] = [reply.readUInt32BE(12), reply.readUInt32BE(16)];
      if (reply.readBigUInt64BE(0) !== magic.optionReply || length > maxReply) {
        throw new HyperscaleError('engine', 'the NBD handshake is malformed');
      }
      const told = length > 0 ? await this.#input.take(length) : Buffer.alloc(0);
      // The kind of information, the size of the export, and its flags.
      if (type === optionReply.info && length >= 12 && told.readUInt16BE(0) === infoExport) {
        readOnly = (told.readUInt16BE(10) & flagReadOnly) !== 0;
        sizeBytes = Number(told.readBigUInt64BE(2));
      }
      if (type === optionReply.ack) return { readOnly, sizeBytes };
      if (type >= optionReply.errorBit) return null;
    }
  }
}

function textOf(server: Server): string {
  return 'path' in server ? server.path : `${server.host}:${server.port}`;
}

/**
 * Whether a server has an export of that name; false when it cannot be reached in time.
 * @param forWriting only one that may be written to counts.
 */
export async function probeExport(
  address: string,
  port: number,
  name: string,
  timeoutMs: number,
  forWriting = false,
): Promise<boolean> {
  let socket: Socket | undefined;
  const limit = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => limit.resolve(false), timeoutMs);
  const found = NbdConnection.find(address, port, name, (opened) => {
    socket = opened;
  }).then(
    (info) => info !== null && !(forWriting && info.readOnly),
    () => false,
  );
  try {
    return await Promise.race([found, limit.promise]);
  } finally {
    clearTimeout(timer);
    socket?.destroy();
  }
}

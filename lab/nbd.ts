/**
 * An NBD client for programs that read and write single blocks with many requests at a time
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). It does not reconnect:
 * connect it to a `Consumer`, which does.
 */
import { connect, type Socket } from 'node:net';
import { HyperscaleError } from '../src/errors.ts';

const serverMagic = Buffer.from('NBDMAGICIHAVEOPT');
const optionMagic = Buffer.from('IHAVEOPT');
const optionReplyMagic = 0x3e889045565a9n;
const requestMagic = 0x25609513;
const replyMagic = 0x67446698;
const optionGo = 7;
const acknowledged = 1;
const errorBit = 0x8000_0000;
const command = { read: 0, write: 1, disconnect: 2 } as const;

type Waiting = {
  /** Bytes that follow the reply, when it is no error. */
  wanted: number;
  resolve: (content: Buffer) => void;
  reject: (error: Error) => void;
};

export class NbdClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<bigint, Waiting>();
  #input: Buffer = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  #failure: Error | undefined;
  #cookie = 0n;

  private constructor(path: string) {
    this.#socket = connect({ path });
    this.#socket.on('data', (chunk: Buffer) => {
      this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
      this.#wake();
    });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** Connects to an export on a Unix socket. */
  static async open(path: string, name: string): Promise<NbdClient> {
    const client = new NbdClient(path);
    try {
      await client.#handshake(name);
    } catch (error) {
      client.close();
      throw error;
    }
    client.#replies().catch((error: Error) => client.#fail(error));
    return client;
  }

  /** @throws HyperscaleError `engine` for an I/O error, `unavailable` when the connection is gone */
  read(offset: number, length: number): Promise<Buffer> {
    return this.#request(command.read, offset, length, length);
  }

  /** Resolves when it is acknowledged. @throws as `read` */
  async write(offset: number, content: Buffer): Promise<void> {
    await this.#request(command.write, offset, content.length, 0, content);
  }

  /** Drops the connection; what is under way rejects. Idempotent. */
  close(): void {
    this.#socket.destroy();
    this.#fail(new Error('the client was closed'));
  }

  #request(
    kind: number,
    offset: number,
    length: number,
    wanted: number,
    content: Buffer = Buffer.alloc(0),
  ): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    if (this.#failure !== undefined) {
      reject(this.#failure);
      return promise;
    }
    const cookie = ++this.#cookie;
    this.#waiting.set(cookie, { wanted, resolve, reject });
    const request = Buffer.alloc(28);
    request.writeUInt32BE(requestMagic, 0);
    request.writeUInt16BE(kind, 6);
    request.writeBigUInt64BE(cookie, 8);
    request.writeBigUInt64BE(BigInt(offset), 16);
    request.writeUInt32BE(length, 24);
    this.#socket.write(Buffer.concat([request, content]));
    return promise;
  }

  async #replies(): Promise<void> {
    for (;;) {
      const reply = await this.#take(16);
      const waiting = this.#waiting.get(reply.readBigUInt64BE(8));
      if (reply.readUInt32BE(0) !== replyMagic || waiting === undefined) {
        throw new Error('an NBD reply is not one that was asked for');
      }
      const error = reply.readUInt32BE(4);
      const content = error === 0 ? await this.#take(waiting.wanted) : Buffer.alloc(0);
      this.#waiting.delete(reply.readBigUInt64BE(8));
      if (error === 0) waiting.resolve(content);
      else waiting.reject(new HyperscaleError('engine', `an I/O error, errno ${error}`));
    }
  }

  async #handshake(name: string): Promise<void> {
    const hello = await this.#take(18);
    if (!hello.subarray(0, 16).equals(serverMagic)) throw new Error('not an NBD server');
    const text = Buffer.from(name);
    const message = Buffer.alloc(4 + 16 + 4 + text.length + 2);
    message.writeUInt32BE(0b11, 0); // fixed newstyle, no zeroes
    optionMagic.copy(message, 4);
    message.writeUInt32BE(optionGo, 12);
    message.writeUInt32BE(4 + text.length + 2, 16);
    message.writeUInt32BE(text.length, 20);
    text.copy(message, 24);
    this.#socket.write(message);
    for (;;) {
      const reply = await this.#take(20);
      const type = reply.readUInt32BE(12);
      await this.#take(reply.readUInt32BE(16));
      if (reply.readBigUInt64BE(0) !== optionReplyMagic || type >= errorBit) {
        throw new Error(`the NBD server refuses export '${name}'`);
      }
      if (type === acknowledged) return;
    }
  }

  async #take(bytes: number): Promise<Buffer> {
    while (this.#input.length < bytes) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#input.subarray(0, bytes);
    this.#input = this.#input.subarray(bytes);
    return taken;
  }

  #fail(error: Error): void {
    this.#failure ??= new HyperscaleError('unavailable', error.message, { cause: error });
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    this.#wake();
  }
}

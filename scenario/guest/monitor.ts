import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { HyperscaleError } from '../../src/errors.ts';
import { onLines } from './lines.ts';

/** Linux's limit for the path of a Unix socket, without the final zero byte. */
const longestSocketPath = 107;

/** A socket that QEMU connects to, so that nothing has to wait for QEMU to make one. */
export class Listener {
  readonly connected: Promise<Socket>;
  readonly #server: Server;
  readonly #path: string;
  #socket: Socket | undefined;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
    this.connected = new Promise((resolve) => {
      server.once('connection', (socket) => {
        this.#socket = socket;
        // QEMU's death may reset the connection; the process's exit is what reports it.
        socket.on('error', () => socket.destroy());
        resolve(socket);
      });
    });
  }

  static async open(path: string): Promise<Listener> {
    if (Buffer.byteLength(path) > longestSocketPath) {
      throw new HyperscaleError('bad-input', `the socket path ${path} is too long`, {
        hint: `Use a directory whose socket paths have at most ${longestSocketPath} bytes.`,
      });
    }
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return new Listener(server, path);
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
    this.#server.close();
    await rm(this.#path, { force: true });
  }
}

type Reply = { QMP?: unknown; event?: string; return?: unknown; error?: { desc: string } };
type Waiting = { resolve: (value: unknown) => void; reject: (error: Error) => void };

/** A QMP session with the guest's QEMU: commands in order, events as they come. */
export class Monitor {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #greeted: () => void = () => undefined;

  /** `onEvent` gets the name of each QMP event and the whole message as JSON. */
  constructor(socket: Socket, onEvent: (name: string, message: string) => void) {
    this.#socket = socket;
    const stream: Readable = socket;
    onLines(stream, (line) => {
      const reply = JSON.parse(line) as Reply;
      if (reply.QMP !== undefined) this.#greeted();
      else if (reply.event !== undefined) onEvent(reply.event, line);
      else if (reply.error === undefined) this.#waiting.shift()?.resolve(reply.return);
      else this.#waiting.shift()?.reject(new HyperscaleError('engine', reply.error.desc));
    });
    socket.on('close', () => {
      for (const { reject } of this.#waiting.splice(0)) {
        reject(new HyperscaleError('unavailable', "the guest's QEMU closed its monitor"));
      }
    });
  }

  /** Waits for the greeting, which QEMU sends once its disks are open. */
  async negotiate(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#greeted = resolve;
    });
    await this.execute('qmp_capabilities');
  }

  execute(command: string, commandArguments: Record<string, unknown> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(
          new HyperscaleError('unavailable', "the guest's QEMU is gone", { values: { command } }),
        );
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: commandArguments })}\n`);
    });
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, HyperscaleError } from '../errors.ts';
import { type BlockNode, blockdev, nbdExport, qemuStorageDaemon } from './graphs.ts';
import { NbdConnection } from './nbd-client.ts';
import { runTool } from './run-tool.ts';

/** What a chain of sealed layers shows, read beside whoever uses it. */

/** A part of what a chain shows, and how many layers lie above the one that has it. */
export type ChainExtent = {
  offset: number;
  length: number;
  /** 0: the newest layer has it. */
  depth: number;
  /** False: no layer has it, and it reads as zeros. */
  present: boolean;
  zero: boolean;
};

const startTimeoutMs = 30_000;
const pollMs = 20;
const exportName = 'chain';
/** Reads under way at once; each has a connection of its own. */
const maxConnections = 16;

/** Lists all that a chain shows, in order (`qemu-img map`). */
export async function mapChain(chain: BlockNode, signal: AbortSignal): Promise<ChainExtent[]> {
  const image = `json:${JSON.stringify(chain)}`;
  const output = await runTool('qemu-img', ['map', '-U', '--output=json', image], signal);
  const map = JSON.parse(output) as (Omit<ChainExtent, 'offset'> & { start: number })[];
  return map.map(({ start, length, depth, present, zero }) => ({
    ...{ offset: start, length, depth, present, zero },
  }));
}

/**
 * A process that reads a chain, and ends with this one. What lies behind the end of the newest layer
 * reads as zeros, as in a volume that has grown since.
 */
export class ChainReader {
  readonly #child: ChildProcess;
  readonly #path: string;
  readonly #sizeBytes: number;
  readonly #idle: NbdConnection[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #sockets = new Set<Socket>();
  #opened = 0;

  private constructor(child: ChildProcess, path: string, first: NbdConnection, sizeBytes: number) {
    this.#child = child;
    this.#path = path;
    this.#sizeBytes = sizeBytes;
    this.#idle.push(first);
    this.#opened = 1;
  }

  /**
   * @param path of a socket that is made for it.
   * @throws `engine` when the chain cannot be opened, `cancelled`
   */
  static async start(chain: BlockNode, path: string, signal: AbortSignal): Promise<ChainReader> {
    const argv = [
      ...['--pdeathsig', 'KILL', '--', qemuStorageDaemon],
      ...blockdev({ ...chain, 'node-name': 'top' }),
      ...[
        '--nbd-server',
        `addr.type=unix,addr.path=${path.replaceAll(',', ',,')},max-connections=0`,
      ],
      ...nbdExport({ type: 'nbd', id: 'e', name: exportName, 'node-name': 'top' }),
    ];
    const child = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
    const said: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
    const sockets: Socket[] = [];
    try {
      await once(child, 'spawn');
      const opened = await untilServed(path, child, signal, (socket) => sockets.push(socket));
      const reader = new ChainReader(child, path, opened.connection, opened.sizeBytes);
      for (const socket of sockets) reader.#sockets.add(socket);
      return reader;
    } catch (error) {
      child.kill('SIGKILL');
      for (const socket of sockets) socket.destroy();
      if (signal.aborted) throw new HyperscaleError('cancelled', 'the reading was cancelled');
      const why = Buffer.concat(said).toString('utf8').trim() || errorText(error);
      throw new HyperscaleError('engine', `the layers cannot be read: ${why}`, { cause: error });
    }
  }

  /** Exactly so many bytes. @throws `engine` when they cannot be read */
  async read(offset: number, length: number): Promise<Buffer> {
    const inside = Math.max(0, Math.min(length, this.#sizeBytes - offset));
    if (inside === 0) return Buffer.alloc(length);
    const connection = await this.#take();
    let content: Buffer;
    try {
      content = await connection.read(offset, inside);
    } catch (error) {
      // Nothing of what is left on this connection is sure to be an answer.
      this.#opened -= 1;
      throw error;
    }
    this.#idle.push(connection);
    this.#waiting.shift()?.();
    return inside === length ? content : Buffer.concat([content, Buffer.alloc(length - inside)]);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#child.kill('SIGKILL');
    await unlink(this.#path).catch(() => undefined);
  }

  async #take(): Promise<NbdConnection> {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle !== undefined) return idle;
      if (this.#opened < maxConnections) {
        this.#opened += 1;
        const opened = await NbdConnection.openUnix(this.#path, exportName, (socket) =>
          this.#sockets.add(socket),
        );
        return opened.connection;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

async function untilServed(
  path: string,
  child: ChildProcess,
  signal: AbortSignal,
  onSocket: (socket: Socket) => void,
): Promise<{ connection: NbdConnection; sizeBytes: number }> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await NbdConnection.openUnix(path, exportName, onSocket);
    } catch (error) {
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (ended || performance.now() > deadline) throw error;
    }
    await sleep(pollMs);
  }
}

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { HeadSpec, LayerKey, LayerSource, PeerExport } from '../../src/engine/engine.ts';
import { type EngineOptions, runParts } from '../../src/engine/environment.ts';
import { createEngine, type QemuEngine } from '../../src/engine/index.ts';
import { kill } from '../../src/engine/process.ts';
import { readRunRecords } from '../../src/engine/run-files.ts';
import { policyLimits } from '../../src/volume/limits.ts';
import { policyNamed } from '../../src/volume/policy.ts';

const run = promisify(execFile);
export const mib = 1 << 20;

/** Nodes' directories below one temporary directory, and everything to clean up. */
export class EngineBench {
  readonly directory: string;
  readonly #nodes: EngineNode[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #mounts: string[] = [];

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(): Promise<EngineBench> {
    return new EngineBench(await mkdtemp(join(tmpdir(), 'hse-')));
  }

  /** A node; with `poolBytes` its pool is a file system of that size. */
  async node(name: string, poolBytes?: number): Promise<EngineNode> {
    const home = join(this.directory, name);
    const pool = join(home, 'pool');
    await mkdir(pool, { recursive: true });
    if (poolBytes !== undefined) {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${poolBytes}`, 'tmpfs', pool]);
      this.#mounts.push(pool);
    }
    const port = await freePort();
    const options: EngineOptions = {
      pool,
      runDirectory: join(home, 'run'),
      logDirectory: join(home, 'log'),
      address: '127.0.0.1',
      replicaPort: await freePort(),
      gatewayPorts: [port, port + 20],
      log: silent,
    };
    const node = new EngineNode(name, options, await createEngine(options));
    this.#nodes.push(node);
    return node;
  }

  /** Keeps a process that is killed at the end. */
  child(child: ChildProcess): ChildProcess {
    this.#children.push(child);
    return child;
  }

  /** A consumer: a `qemu-io` that reconnects like a guest's QEMU, and flushes nothing unasked. */
  consumer(socket: string, session: string): Consumer {
    return new Consumer(this, socket, session);
  }

  async clean(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const node of this.#nodes) await node.killAll();
    for (const mount of this.#mounts) await run('umount', ['-l', mount]);
    await rm(this.directory, { recursive: true, force: true });
  }
}

export class EngineNode {
  readonly name: string;
  readonly options: EngineOptions;
  readonly engine: QemuEngine;

  constructor(name: string, options: EngineOptions, engine: QemuEngine) {
    this.name = name;
    this.options = options;
    this.engine = engine;
  }

  get peer(): PeerExport {
    return { node: this.name, boot: 'b', address: '127.0.0.1', port: this.options.replicaPort };
  }

  async killAll(): Promise<void> {
    await this.engine.replicas.kill();
    for (const part of Object.values(runParts)) {
      const directory = join(this.options.runDirectory, part);
      if (!existsSync(directory) || readdirSync(directory).every((n) => !n.endsWith('.json'))) {
        continue;
      }
      for (const record of readRunRecords(directory)) await kill(record.identity);
    }
    for (const volume of this.engine.attachSockets()) await this.engine.removeAttachSocket(volume);
  }
}

export class Consumer {
  readonly #child: ChildProcess;
  #output = '';
  #wake: (() => void) | undefined;

  constructor(bench: EngineBench, socket: string, session: string) {
    const server = `server.type=unix,server.path=${socket},export=${session}`;
    const image = `driver=nbd,${server},reconnect-delay=120`;
    this.#child = bench.child(spawn('qemu-io', ['-t', 'writeback', '--image-opts', image]));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString('utf8');
        this.#wake?.();
      });
    }
    this.#child.once('close', () => {
      this.#output += '\nended\n';
      this.#wake?.();
    });
  }

  /** Runs one command of qemu-io (`write`, `read` or `discard`). */
  async io(command: string): Promise<void> {
    this.#child.stdin?.write(`${command}\n`);
    for (;;) {
      const failed = /.*(failed|Pattern verification|ended|[Ee]rror).*/.exec(this.#output);
      if (failed !== null) throw new Error(`${command}: ${failed[0]}`);
      const done = /(wrote|read|discard) \d+\/\d+ bytes.*\n.*\n/.exec(this.#output);
      if (done !== null) {
        this.#output = this.#output.slice(done.index + done[0].length);
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Like a host that lost its power: without a flush or a goodbye. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** A volume of one test, for which layers and head specifications are made. */
export class TestVolume {
  readonly id = randomUUID();
  readonly sizeBytes: number;
  #epoch = 0;

  constructor(sizeBytes = 64 * mib) {
    this.sizeBytes = sizeBytes;
  }

  nextLayer(): LayerKey {
    this.#epoch += 1;
    return { volume: this.id, layer: randomBytes(16).toString('hex'), epoch: this.#epoch };
  }

  /** The next layer, created on all of these nodes and exported by all but the first. */
  async open(...members: EngineNode[]): Promise<LayerSource> {
    const layer = this.nextLayer();
    for (const [index, node] of members.entries()) {
      await node.engine.layers.create(layer, this.sizeBytes);
      if (index === 0) continue;
      await node.engine.replicas.start();
      await node.engine.replicas.export(layer, true);
    }
    return { layer, local: true, peers: members.slice(1).map((node) => node.peer) };
  }

  spec(sealed: LayerSource[], open: LayerSource, ...sessions: string[]): HeadSpec {
    const local = sealed.map((source) => ({ ...source, peers: source.local ? [] : source.peers }));
    const { id: volume, sizeBytes } = this;
    const limits = policyLimits(policyNamed('Gold'));
    return { volume, sizeBytes, limits, sealed: local, open, sessions };
  }
}

/** The chain of these layers as one image, opened as a head opens it; `file`: options of its files. */
export function chainOf({ engine }: EngineNode, keys: LayerKey[], file: object = {}): string {
  let image: object | null = null;
  for (const key of keys) {
    const place = { driver: 'file', filename: engine.layers.path(key), locking: 'off', ...file };
    image = { driver: 'qcow2', file: place, backing: image, discard: 'unmap' };
  }
  return `json:${JSON.stringify(image)}`;
}

/** `qemu-io` with commands, on an image given as JSON or by URI. */
export async function qemuIo(image: string, ...commands: string[]): Promise<string> {
  const args = [
    '-t',
    'writeback',
    '-f',
    'raw',
    image,
    ...commands.flatMap((command) => ['-c', command]),
  ];
  const { stdout } = await run('qemu-io', image.startsWith('json:') ? args.toSpliced(2, 2) : args);
  if (/verification failed/.test(stdout)) throw new Error(stdout);
  return stdout;
}

export function nbdUri(socket: string, session: string): string {
  return `nbd+unix:///${session}?socket=${socket}`;
}

export async function sha256(path: string): Promise<string> {
  return (await run('sha256sum', [path])).stdout.slice(0, 64);
}

/** A port that nobody listens at, below those that Linux gives to outgoing connections (32768). */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { HyperscaleError } from '../errors.ts';
import type { HeadHandle, HeadSpec, PreparedHead } from './engine.ts';
import { attachSocketPath, type EngineEnvironment, logFile, runPart } from './environment.ts';
import { waitUnwritten } from './file-locks.ts';
import { Head } from './head.ts';
import { headArguments } from './head-graph.ts';
import { HeldProcess, heldDescriptors } from './held-process.ts';
import { checkLayerKey, checkSessionId } from './ids.ts';
import { poll } from './poll.ts';
import { isGone, type ProcessIdentity } from './process.ts';
import { RunFiles } from './run-files.ts';
import { type LaunchOptions, StorageDaemon } from './storage-daemon.ts';

/** A process that listens, and where its monitor does. */
type Held = { process: HeldProcess; qmp: string };

const startTimeoutMs = 10_000;
/** How long the old head serves on while QEMU is loaded; then it is exchanged all the same. */
const loadTimeoutMs = 500;
/** How long requests of a killed head may keep its files in use. */
const lockTimeoutMs = 2_000;

/**
 * A head whose listener stands: consumers that connect to it wait to be served. Its process may be
 * QEMU already, which takes a while to load; it does what can be done ahead (`headArguments`) and
 * waits.
 */
export class HeadStart implements PreparedHead {
  readonly #environment: EngineEnvironment;
  readonly #volume: string;
  readonly #listener: 'new' | 'waiting';
  #held: Held;
  /** What the process was started for, if it was. */
  #launched: LaunchOptions | undefined;

  private constructor(
    environment: EngineEnvironment,
    volume: string,
    listener: 'new' | 'waiting',
    held: Held,
  ) {
    this.#environment = environment;
    this.#volume = volume;
    this.#listener = listener;
    this.#held = held;
  }

  static async prepare(
    environment: EngineEnvironment,
    volume: string,
    listener: 'new' | 'waiting',
    expected?: HeadSpec,
  ): Promise<HeadStart> {
    const held = await hold(environment, volume, listener);
    const start = new HeadStart(environment, volume, listener, held);
    try {
      if (expected !== undefined) {
        const { files } = start.#launch(expected);
        // The old head serves meanwhile; nobody waits.
        if (listener === 'new') await untilLoaded(held.process.identity, files);
      }
    } catch (error) {
      await start.abandon();
      throw error;
    }
    return start;
  }

  async serve(spec: HeadSpec): Promise<HeadHandle> {
    const deadline = performance.now() + lockTimeoutMs;
    if (this.#launched !== undefined && !isDeepStrictEqual(this.#launched.spec, spec)) {
      await this.#holdAgain();
    }
    // A head that was killed may have left requests in the kernel; they end by themselves. Where the
    // listener is a new one, the old head was seen to end, and its requests with it.
    if (this.#listener === 'waiting') await waitUnwritten(this.#files(spec), lockTimeoutMs);
    for (;;) {
      try {
        return await this.#start(spec);
      } catch (error) {
        const locked =
          error instanceof HyperscaleError && /Failed to get .* lock/.test(error.message);
        if (!locked || performance.now() > deadline) throw error;
      }
      await delay(20);
      await this.#holdAgain();
    }
  }

  async abandon(): Promise<void> {
    await this.#held.process.kill();
    rmSync(this.#held.qmp, { force: true });
    this.#launched?.files.remove();
  }

  /** A fresh process on the same listener. */
  async #holdAgain(): Promise<void> {
    await this.abandon();
    this.#launched = undefined;
    this.#held = await hold(this.#environment, this.#volume, 'waiting');
  }

  #launch(spec: HeadSpec): LaunchOptions {
    const files = this.#check(spec);
    const { access, layerPath } = this.#environment;
    const argv = headArguments(spec, access, layerPath, files.events);
    const launched = { files, spec, argv, waits: true };
    this.#launched = launched;
    StorageDaemon.launch(this.#held.process, this.#held.qmp, launched);
    return launched;
  }

  #check(spec: HeadSpec): RunFiles {
    for (const { layer } of [...spec.sealed, spec.open]) checkLayerKey(layer);
    const { epoch, layer, volume } = spec.open.layer;
    if (volume !== this.#volume) {
      throw new HyperscaleError('internal', `layer ${layer} is of another volume`);
    }
    for (const session of spec.sessions) checkSessionId(session);
    const name = `${this.#volume}.${epoch}.${layer.slice(0, 8)}`;
    return new RunFiles(runPart(this.#environment, 'heads'), name);
  }

  /** Files of this node's pool that it opens. */
  #files(spec: HeadSpec): string[] {
    const local = [...spec.sealed, spec.open].filter((source) => source.local);
    return local.map((source) => this.#environment.layerPath(source.layer));
  }

  async #start(spec: HeadSpec): Promise<Head> {
    const launched = this.#launched ?? this.#launch(spec);
    const options = { ...launched, timeoutMs: startTimeoutMs };
    const daemon = await StorageDaemon.connect(this.#held.process, options);
    return new Head(daemon, spec, this.#environment.layerPath(spec.open.layer), spec);
  }
}

/** Waits until QEMU has done all that it may do ahead, or died, or takes too long. */
async function untilLoaded(identity: ProcessIdentity, files: RunFiles): Promise<void> {
  await poll(() => existsSync(files.events) || isGone(identity), loadTimeoutMs);
}

/** Puts a listener into the place of the volume's attachment socket. */
async function hold(
  environment: EngineEnvironment,
  volume: string,
  listener: 'new' | 'waiting',
): Promise<Held> {
  const attach = attachSocketPath(environment, volume);
  const mode = listener === 'new' ? ('keep' as const) : ('reuse' as const);
  const qmp = join(runPart(environment, 'heads'), `${volume}.${token()}.qmp`);
  const sockets = [
    { fd: heldDescriptors.attach, path: attach, mode, group: environment.attachGroup },
    { fd: heldDescriptors.qmp, path: qmp },
  ];
  return { process: await HeldProcess.start(sockets, logFile(environment, volume)), qmp };
}

function token(): string {
  return randomBytes(4).toString('hex');
}

import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HyperscaleError } from '../errors.ts';
import type { HeadHandle, HeadSpec, PreparedHead } from './engine.ts';
import { attachSocketPath, type EngineEnvironment, logFile, runPart } from './environment.ts';
import { waitUnwritten } from './file-locks.ts';
import { Head } from './head.ts';
import { headArguments } from './head-graph.ts';
import { HeldProcess, heldDescriptors } from './held-process.ts';
import { checkLayerKey, checkSessionId } from './ids.ts';
import { RunFiles } from './run-files.ts';
import { StorageDaemon } from './storage-daemon.ts';

const startTimeoutMs = 10_000;
/** How long requests of a killed head may keep its files in use. */
const lockTimeoutMs = 2_000;

/** A head whose listener stands: consumers that connect to it wait to be served. */
export class HeadStart implements PreparedHead {
  readonly #environment: EngineEnvironment;
  readonly #volume: string;
  #held: { process: HeldProcess; qmp: string };

  private constructor(
    environment: EngineEnvironment,
    volume: string,
    held: { process: HeldProcess; qmp: string },
  ) {
    this.#environment = environment;
    this.#volume = volume;
    this.#held = held;
  }

  static async prepare(
    environment: EngineEnvironment,
    volume: string,
    listener: 'keep' | 'reuse',
  ): Promise<HeadStart> {
    return new HeadStart(environment, volume, await hold(environment, volume, listener));
  }

  async serve(spec: HeadSpec): Promise<HeadHandle> {
    const files = this.#check(spec);
    const deadline = performance.now() + lockTimeoutMs;
    const open = this.#environment.layerPath(spec.open.layer);
    const sealed = spec.sealed.filter((s) => s.local).map((s) => s.layer);
    const local = sealed.map((key) => this.#environment.layerPath(key));
    if (spec.open.local) local.push(open);
    // A head that was just killed may have left requests in the kernel; they end by themselves.
    await waitUnwritten(local, lockTimeoutMs);
    for (;;) {
      try {
        return await this.#start(spec, files);
      } catch (error) {
        const locked =
          error instanceof HyperscaleError && /Failed to get .* lock/.test(error.message);
        if (!locked || performance.now() > deadline) throw error;
      }
      await delay(20);
      this.#held = await hold(this.#environment, this.#volume, 'reuse');
    }
  }

  async abandon(): Promise<void> {
    await this.#held.process.kill();
    rmSync(this.#held.qmp, { force: true });
  }

  #check(spec: HeadSpec): RunFiles {
    for (const { layer } of [...spec.sealed, spec.open]) {
      checkLayerKey(layer);
      if (layer.volume !== this.#volume) {
        throw new HyperscaleError('internal', `layer ${layer.layer} is of another volume`);
      }
    }
    for (const session of spec.sessions) checkSessionId(session);
    const { epoch, layer } = spec.open.layer;
    const name = `${this.#volume}.${epoch}.${layer.slice(0, 8)}`;
    return new RunFiles(runPart(this.#environment, 'heads'), name);
  }

  async #start(spec: HeadSpec, files: RunFiles): Promise<Head> {
    const { access, layerPath } = this.#environment;
    const argv = headArguments(spec, access, layerPath, files.events);
    const { process, qmp } = this.#held;
    const options = { files, spec, argv, timeoutMs: startTimeoutMs };
    const daemon = await StorageDaemon.start(process, qmp, options);
    return new Head(daemon, spec, layerPath(spec.open.layer), spec);
  }
}

/** Puts a listener into the place of the volume's attachment socket. */
async function hold(environment: EngineEnvironment, volume: string, mode: 'keep' | 'reuse') {
  const attach = attachSocketPath(environment, volume);
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

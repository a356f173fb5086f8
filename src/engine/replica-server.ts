import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText, HyperscaleError } from '../errors.ts';
import type { LayerKey, ReplicaServer } from './engine.ts';
import { type EngineEnvironment, logFile, runPart } from './environment.ts';
import { waitUnwritten } from './file-locks.ts';
import { HeldProcess, heldDescriptors } from './held-process.ts';
import { checkLayerKey } from './ids.ts';
import { layerKeyOfPath } from './layer-files.ts';
import {
  type LayerExport,
  layerExport,
  layerExportId,
  layerFileNode,
  layerNode,
  replicaArguments,
} from './replica-graph.ts';
import { RunFiles, readRunRecords } from './run-files.ts';
import { Serial } from './serial.ts';
import { StorageDaemon } from './storage-daemon.ts';

const startTimeoutMs = 10_000;
const adoptTimeoutMs = 2_000;
const commandTimeoutMs = 5_000;
/** How long requests of a killed server may keep a file in use. */
const lockTimeoutMs = 2_000;
/** Pause between attempts to bring the server back when it does not start. */
const retryMs = 1_000;

type Exported = { key: LayerKey; writable: boolean };

/** The `qemu-storage-daemon` that exports this node's layers to its peers, and its supervision. */
export class QemuReplicaServer implements ReplicaServer {
  readonly #environment: EngineEnvironment;
  readonly #serial = new Serial();
  /** What is, or after a restart will be, exported. */
  readonly #exports = new Map<string, Exported>();
  #daemon: StorageDaemon | undefined;
  /** Kept alive: `start` was called, and `kill` was not called since. */
  #supervised = false;

  constructor(environment: EngineEnvironment) {
    this.#environment = environment;
  }

  async start(): Promise<void> {
    await this.#serial.run(async () => {
      if (this.#daemon !== undefined) return;
      this.#supervised = true;
      const adopted = await this.#adopt();
      if (adopted === undefined) await this.#launch();
      else this.#watch(adopted);
    });
  }

  async export(key: LayerKey, writable: boolean): Promise<void> {
    checkLayerKey(key);
    await this.#serial.run(async () => {
      const present = this.#exports.get(key.layer);
      if (present?.writable === writable) return;
      if (present !== undefined) await this.#drop(key.layer, commandTimeoutMs);
      const exported = { key, writable };
      await this.#add(this.#running(), exported);
      this.#exports.set(key.layer, exported);
    });
  }

  async unexport(layer: string, timeoutMs: number): Promise<void> {
    await this.#serial.run(() => this.#drop(layer, timeoutMs));
  }

  exports(): Exported[] {
    return [...this.#exports.values()].map(({ key, writable }) => ({ key, writable }));
  }

  async kill(): Promise<void> {
    // Before it waits for its turn, so that a restart that is under way gives up.
    this.#supervised = false;
    await this.#serial.run(async () => {
      await this.#killDaemon();
      this.#exports.clear();
    });
  }

  /** Undefined until it was started, and after it was killed. */
  get pid(): number | undefined {
    return this.#daemon?.identity.pid;
  }

  #running(): StorageDaemon {
    if (this.#daemon !== undefined) return this.#daemon;
    throw new HyperscaleError('unavailable', 'the replica server of this node does not run', {
      hint: 'It is being restarted; its log is in the log directory (qemu-replica.log).',
    });
  }

  async #add(daemon: StorageDaemon, exported: Exported): Promise<void> {
    const layer = this.#layerExport(exported);
    if (layer.writable) daemon.writes.add(layer.path);
    await daemon.execute('blockdev-add', layerFileNode(layer, this.#environment.access));
    try {
      await daemon.execute('block-export-add', layerExport(layer));
    } catch (error) {
      await daemon.execute('blockdev-del', { 'node-name': layerNode(layer.layer) });
      throw error;
    }
  }

  async #drop(layer: string, timeoutMs: number): Promise<void> {
    const exported = this.#exports.get(layer);
    if (exported === undefined) return;
    this.#exports.delete(layer);
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    try {
      await daemon.removeExport(layerExportId(layer), timeoutMs);
      await daemon.execute('blockdev-del', { 'node-name': layerNode(layer) });
    } catch (error) {
      this.#environment.log.warn(
        { layer, error: errorText(error) },
        'an export did not end in time: the replica server is killed and restarted without it',
      );
      try {
        // Whoever dropped the export counts on no write being under way.
        await this.#killDaemon();
      } finally {
        if (this.#supervised) await this.#launch();
      }
      return;
    }
    daemon.writes.delete(this.#environment.layerPath(exported.key));
  }

  #layerExport({ key, writable }: Exported): LayerExport {
    return { layer: key.layer, path: this.#environment.layerPath(key), writable };
  }

  async #killDaemon(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await daemon?.kill();
  }

  /** Starts a server with all exports, so that no peer ever finds it without its own. */
  async #launch(): Promise<void> {
    const all = [...this.#exports.values()];
    await waitUnwritten(
      all.filter((e) => e.writable).map((e) => this.#environment.layerPath(e.key)),
      lockTimeoutMs,
    );
    try {
      this.#watch(await this.#startDaemon(all));
      return;
    } catch (error) {
      if (all.length === 0) throw error;
      const { log } = this.#environment;
      log.error({ error: errorText(error) }, 'the replica server does not start with all exports');
    }
    // One bad file must not keep the others away.
    const daemon = await this.#startDaemon([]);
    this.#watch(daemon);
    for (const exported of all) {
      await this.#add(daemon, exported).catch((error: unknown) => {
        this.#exports.delete(exported.key.layer);
        const values = { ...exported.key, error: errorText(error) };
        this.#environment.log.error(values, 'a layer cannot be exported any more');
      });
    }
  }

  async #startDaemon(exported: Exported[]): Promise<StorageDaemon> {
    const { address, replicaPort: port, heartbeat, access } = this.#environment;
    const directory = runPart(this.#environment, 'replica');
    const files = new RunFiles(directory, 'server');
    const qmp = join(directory, `${randomBytes(4).toString('hex')}.qmp`);
    const log = logFile(this.#environment, 'replica');
    const held = await HeldProcess.start([{ fd: heldDescriptors.qmp, path: qmp }], log);
    const layers = exported.map((e) => this.#layerExport(e));
    const spec = { address, port, heartbeat, layers };
    const argv = replicaArguments(spec, access, files.events);
    return await StorageDaemon.start(held, qmp, { files, spec, argv, timeoutMs: startTimeoutMs });
  }

  async #adopt(): Promise<StorageDaemon | undefined> {
    for (const record of readRunRecords<unknown>(runPart(this.#environment, 'replica'))) {
      const daemon = await StorageDaemon.adopt(record, adoptTimeoutMs);
      if (daemon === undefined) continue;
      try {
        for (const e of await exportedBy(daemon)) this.#exports.set(e.key.layer, e);
        return daemon;
      } catch (error) {
        const { log } = this.#environment;
        log.warn({ error: errorText(error) }, 'the running replica server cannot be adopted');
        this.#exports.clear();
        await daemon.kill();
      }
    }
    return undefined;
  }

  #watch(daemon: StorageDaemon): void {
    this.#daemon = daemon;
    for (const { key, writable } of this.#exports.values()) {
      if (writable) daemon.writes.add(this.#environment.layerPath(key));
    }
    const ended = () => {
      if (this.#daemon !== daemon || !this.#supervised) return;
      const values = { pid: daemon.identity.pid, exports: this.#exports.size };
      this.#environment.log.error(values, 'the replica server died and is restarted');
      this.#restart(daemon).catch((error: unknown) => {
        this.#environment.log.error({ error: errorText(error) }, 'the restart was given up');
      });
    };
    daemon.ended.then(ended, ended);
  }

  async #restart(dead: StorageDaemon): Promise<void> {
    let done = false;
    while (!done) {
      done = await this.#serial.run(async () => {
        if (!this.#supervised || (this.#daemon !== undefined && this.#daemon !== dead)) return true;
        this.#daemon = undefined;
        try {
          await this.#launch();
          return true;
        } catch (error) {
          const { log } = this.#environment;
          log.error({ error: errorText(error) }, 'the replica server cannot be restarted');
          return false;
        }
      });
      if (!done) await delay(retryMs);
    }
  }
}

/** What a running server exports, as QEMU tells it. */
async function exportedBy(daemon: StorageDaemon): Promise<Exported[]> {
  const ids = new Set(await daemon.exportIds());
  const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as {
    file: string;
    ro: boolean;
  }[];
  return nodes.flatMap(({ file, ro }) => {
    const key = layerKeyOfPath(file);
    if (key === undefined || !ids.has(layerExportId(key.layer))) return [];
    return [{ key, writable: !ro }];
  });
}

import type { RestoreRequest } from '../../src/api/restore-service.ts';
import type { LayerKey } from '../../src/engine/engine.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../../src/errors.ts';
import { workingOn } from '../../src/image/working.ts';
import type { Agent } from '../../src/node/agent.ts';
import { chooseBackup } from '../../src/restore/choose.ts';
import { assertRecord } from '../../src/volume/invariants.ts';
import {
  completeRestore,
  createRestoring,
  restoringLayer,
  serveRestore,
  takeOverRestore,
} from '../../src/volume/restore.ts';
import type { RestoredFrom, Volume } from '../../src/volume/types.ts';
import type { SimRepository } from './backups.ts';
import type { Checker } from './checker.ts';
import type { Host } from './engine-host.ts';
import { StreamProcess } from './stream-process.ts';

const lookMs = 1_000;
const awayMs = 15_000;
const pauseMs = 1_000;
const startMs = [20, 600] as const;

type Parts = {
  agent: Agent;
  host: Host;
  checker: Checker;
  targets: ReadonlyMap<string, SimRepository>;
  known: readonly string[];
};

/**
 * Volumes that are used while they are restored, as one life of a daemon keeps them: the same steps of
 * the record as `src/restore/streams.ts`, in the same order; what serves a backup is `StreamProcess`.
 */
export class SimStreams {
  readonly #parts: Parts;
  /** By layer. */
  readonly #copies = new Map<string, { volume: string; stop: AbortController }>();
  readonly #away = new Map<string, number>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    const { store } = this.#parts.agent.context;
    store.onChange((change) => {
      if (change.kind === 'volume') this.#look(change.id, change.volume?.value);
    });
    for (const { value } of store.volumes()) this.#look(value.id, value);
    for (const [layer, source] of this.#parts.host.streams) {
      if (!this.#copies.has(layer)) source.retire();
    }
    this.#again();
  }

  async begin({ name, policy, target, wish }: RestoreRequest): Promise<Volume> {
    const { environment, self, store } = this.#parts.agent.context;
    const entries = this.#parts.targets.get(target)?.backups.map((b) => b.entry) ?? [];
    const entry = chooseBackup(entries, wish, target);
    const layer = environment.randomId();
    const source = await this.#startSource(layer, target, entry.id);
    try {
      const { id: backup, sizeBytes, volume, volumeName } = entry;
      const at = new Date(entry.at).toISOString();
      const restoredFrom: RestoredFrom = { target, backup, volume, volumeName, at };
      const createdAt = environment.now();
      const made = { id: environment.randomId(), name, sizeBytes, policy, restoredFrom, createdAt };
      const place = { node: self.node, pool: self.pool, port: source.port };
      const record = createRestoring(made, layer, place);
      assertRecord(record);
      const { value } = await store.create({ ...record, operation: environment.randomId() });
      await this.#parts.agent.worker(value.id).sidecar.keep();
      this.#look(value.id, value);
      return value;
    } catch (error) {
      source.kill();
      throw error;
    }
  }

  #look(id: string, volume: Volume | undefined): void {
    const layer = volume === undefined ? undefined : restoringLayer(volume);
    const { self } = this.#parts.agent.context;
    const place = layer?.restoring;
    const isMine = place !== undefined && place.node === self.node && place.pool === self.pool;
    for (const [known, { volume: of, stop }] of this.#copies) {
      if (of !== id || (isMine && known === layer?.id)) continue;
      this.#copies.delete(known);
      stop.abort();
      const source = this.#parts.host.streams.get(known);
      if (volume?.chain.some((l) => l.id === known)) source?.retire();
      else source?.kill();
    }
    if (!isMine || layer === undefined || this.#copies.has(layer.id)) return;
    const stop = new AbortController();
    this.#copies.set(layer.id, { volume: id, stop });
    const key = { volume: id, layer: layer.id, epoch: layer.epoch };
    this.#copy(key, stop.signal)
      .catch((error: unknown) => this.#parts.checker.fail(`a restore ended: ${errorText(error)}`))
      .finally(() => {
        if (this.#copies.get(layer.id)?.stop === stop) this.#copies.delete(layer.id);
      });
  }

  async #copy(key: LayerKey, signal: AbortSignal): Promise<void> {
    const { context } = this.#parts.agent;
    while (!signal.aborted) {
      try {
        await this.#once(key, signal);
        return;
      } catch (error) {
        if (signal.aborted || isHyperscaleError(error, 'not-found')) return;
        context.log.warn({ error: errorText(error) }, 'a restore does not go on');
        await this.#tell(key, errorText(error)).catch(() => undefined);
        await this.#pause(pauseMs);
      }
    }
  }

  async #once(key: LayerKey, signal: AbortSignal): Promise<void> {
    const { agent, host } = this.#parts;
    const { content, engine, self, store } = agent.context;
    const worker = agent.worker(key.volume);
    const { restoredFrom } = worker.volume ?? {};
    const { backup = '', target = '' } = restoredFrom ?? {};
    const running = host.streams.get(key.layer);
    const source = running ?? (await this.#startSource(key.layer, target, backup));
    await this.#tell(key, null, source.port);
    try {
      await workingOn(agent, 'restore')(key, async (_, deleted) => {
        const either = AbortSignal.any([signal, deleted]);
        const path = `/run/streams/${key.layer}.sock`;
        host.disk.files.set(path, this.#parts.checker.backups.get(backup) ?? []);
        const from = { path, format: 'nbd', bytesPerSecond: 0 } as const;
        const { sizeBytes } = source.entry;
        await engine.layers.importFile(key, from, sizeBytes, either);
        const { root, allocatedBytes } = await content.manifest(key, either);
        if (!source.alive) throw new HyperscaleError('engine', 'what serves the backup has ended');
        const proof = { root, bytes: allocatedBytes };
        await worker.change((v) => completeRestore(v, key.layer, self, proof));
      });
      source.retire();
      await worker.sidecar.keep();
    } catch (error) {
      const now = store.volume(key.volume)?.value;
      const wanted = now?.chain.find((l) => l.id === key.layer)?.replicas;
      if (!wanted?.some((r) => r.node === self.node)) await engine.layers.remove(key);
      throw error;
    }
  }

  async #startSource(layer: string, name: string, backup: string): Promise<StreamProcess> {
    const { host, targets, known, checker } = this.#parts;
    const { core, machine, streams } = host;
    await this.#pause(core.random.int(...startMs));
    const target = targets.get(name);
    const entry = target?.backups.find((b) => b.entry.id === backup)?.entry;
    if (target === undefined || entry === undefined || target.down || !known.includes(name)) {
      throw new HyperscaleError('unavailable', `backup ${backup} cannot be read here`);
    }
    host.nextPort += 1;
    const content = checker.backups.get(backup) ?? [];
    const what = { layer, port: host.nextPort, entry };
    const source = new StreamProcess(core, machine, what, { content, target });
    streams.set(layer, source);
    source.onGone(() => {
      if (streams.get(layer) === source) streams.delete(layer);
    });
    return source;
  }

  /** Notes in the record where the backup is served, and what is wrong. */
  async #tell(key: LayerKey, problem: string | null, port?: number): Promise<void> {
    const { agent } = this.#parts;
    await agent.worker(key.volume).change((v) => {
      const known = restoringLayer(v)?.restoring?.port ?? null;
      return serveRestore(v, key.layer, agent.context.self, { port: port ?? known, problem });
    });
  }

  #again(): void {
    const { environment, log } = this.#parts.agent.context;
    environment.after(lookMs, () => {
      this.#takeOver()
        .catch((error: unknown) => log.warn({ error: errorText(error) }, 'not taken over'))
        .finally(() => this.#again());
    });
  }

  /** Takes over what nodes restore that are away for a while. */
  async #takeOver(): Promise<void> {
    const { agent, known } = this.#parts;
    const { context } = agent;
    if (!context.leasesKnown()) return;
    const nodes = context.nodes();
    const now = context.environment.monotonic();
    const seen = new Set<string>();
    for (const { value } of context.store.volumes()) {
      const layer = restoringLayer(value);
      const target = value.restoredFrom?.target ?? '';
      if (layer?.restoring === undefined || !known.includes(target)) continue;
      const { node, pool } = layer.restoring;
      if (nodes.some((n) => n.name === node && n.pool === pool && n.lease !== null)) continue;
      seen.add(node);
      const since = this.#away.get(node) ?? now;
      this.#away.set(node, since);
      const able = nodes.filter((n) => n.lease !== null && n.backupTargets?.includes(target));
      const { self } = context;
      if (now - since < awayMs || able.map((n) => n.name).sort()[0] !== self.node) continue;
      const to = { node: self.node, pool: self.pool };
      await agent.worker(value.id).change((v) => takeOverRestore(v, layer.id, { node, pool }, to));
    }
    for (const node of this.#away.keys()) if (!seen.has(node)) this.#away.delete(node);
  }

  #pause(milliseconds: number): Promise<void> {
    const { environment } = this.#parts.agent.context;
    return new Promise((resolve) => environment.after(milliseconds, resolve));
  }
}

/**
 * Volumes that are used while they are restored. Watches: records, node leases. Wants: each layer that
 * is being restored is served and copied by one live node that has the target. Does: serves and copies
 * those of this node; takes one over from a node that is down.
 */
import type { RestoreRequest } from '../api/restore-service.ts';
import type { LayerKey } from '../engine/engine.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { assertRecord } from '../volume/invariants.ts';
import { hasPool, hasRoom, isDraining } from '../volume/placement.ts';
import { createRestoring, restoringLayer, takeOverRestore } from '../volume/restore.ts';
import type { NodeView, RestoredFrom, Volume } from '../volume/types.ts';
import { StreamCopy } from './stream-copy.ts';
import type { StreamParts } from './stream-parts.ts';

const lookMs = 1_000;
/** Volumes that one node restores while they are used; each has two programs. */
const mostStreams = 8;
/** A daemon that restarts is back by then; what it serves meanwhile serves on. */
const awayMs = 10_000;

export class Streams {
  readonly #parts: StreamParts;
  /** By layer. */
  readonly #copies = new Map<string, { volume: string; copy: StreamCopy }>();
  /** Since when nodes are away that restore something, ms. */
  readonly #away = new Map<string, number>();
  #off: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;
  #stopped = false;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  /** Goes on with what an earlier run of the daemon was restoring. */
  start(): void {
    const { store } = this.#parts.agent.context;
    this.#off = store.onChange((change) => {
      if (change.kind === 'volume') this.#look(change.id, change.volume?.value);
    });
    for (const { value } of store.volumes()) this.#look(value.id, value);
    const { sources } = this.#parts;
    for (const layer of sources.layers()) {
      if (!this.#copies.has(layer)) sources.running(layer)?.retire();
    }
    this.#again();
  }

  /** What serves guests serves on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#off();
    this.#cancelLook();
    const copies = [...this.#copies.values()].map(({ copy }) => copy);
    for (const copy of copies) copy.stop();
    await Promise.all(copies.map(({ done }) => done));
  }

  /** @returns the record, which can be used at once. @throws as `RestoreService.restore` */
  async begin(request: RestoreRequest, signal: AbortSignal): Promise<Volume> {
    const { agent, sources, newVolumeId } = this.#parts;
    const { environment, self, store } = agent.context;
    const { name, policy, target, wish } = request;
    if (this.#copies.size >= mostStreams) {
      throw new HyperscaleError(
        'unavailable',
        `${self.node} restores ${this.#copies.size} volumes that are used meanwhile, which is the most`,
        { hint: 'Wait for one of them, or ask another node.' },
      );
    }
    const layer = environment.randomId();
    const source = await sources.start({ target, wish, layer, port: null }, signal);
    try {
      const { entry, port, sizeBytes } = source.serves;
      const restoredFrom: RestoredFrom = {
        target,
        backup: entry.id,
        volume: entry.volume,
        volumeName: entry.volumeName,
        at: new Date(entry.at).toISOString(),
      };
      const createdAt = environment.now();
      const made = { id: newVolumeId(), name, sizeBytes, policy, restoredFrom, createdAt };
      const record = createRestoring(made, layer, { node: self.node, pool: self.pool, port });
      assertRecord(record);
      const operation = environment.randomId();
      const { value } = await store.create({ ...record, operation });
      await agent.worker(value.id).sidecar.keep();
      this.#look(value.id, value);
      return value;
    } catch (error) {
      source.end();
      throw error;
    }
  }

  #look(id: string, volume: Volume | undefined): void {
    if (this.#stopped) return;
    const layer = volume === undefined ? undefined : restoringLayer(volume);
    const { self } = this.#parts.agent.context;
    const place = layer?.restoring;
    const isMine = place !== undefined && place.node === self.node && place.pool === self.pool;
    for (const [known, { volume: of, copy }] of this.#copies) {
      if (of !== id || (isMine && known === layer?.id)) continue;
      this.#copies.delete(known);
      copy.stop();
      this.#leave(known, volume);
    }
    if (isMine && layer !== undefined && !this.#copies.has(layer.id)) {
      this.#copy({ volume: id, layer: layer.id, epoch: layer.epoch });
    }
  }

  #copy(key: LayerKey): void {
    const copy = new StreamCopy(this.#parts, key);
    this.#copies.set(key.layer, { volume: key.volume, copy });
    copy.done
      .catch((error: unknown) => {
        const { log } = this.#parts.agent.context;
        log.error({ volume: key.volume, error: errorText(error) }, 'a restore was given up');
      })
      .finally(() => {
        if (this.#copies.get(key.layer)?.copy === copy) this.#copies.delete(key.layer);
      });
  }

  /** Of a volume that was deleted nobody reads; else heads may still be connected. */
  #leave(layer: string, volume: Volume | undefined): void {
    const source = this.#parts.sources.running(layer);
    const isNeeded = volume?.chain.some((l) => l.id === layer) === true;
    if (isNeeded) source?.retire();
    else source?.end();
  }

  #again(): void {
    const { environment, log } = this.#parts.agent.context;
    this.#cancelLook = environment.after(lookMs, () => {
      this.#takeOver()
        .catch((error: unknown) =>
          log.warn({ error: errorText(error) }, 'a restore is not taken over'),
        )
        .finally(() => {
          if (!this.#stopped) this.#again();
        });
    });
  }

  /** Takes over what nodes restore that are away for a while. */
  async #takeOver(): Promise<void> {
    const { agent, targets } = this.#parts;
    const { context } = agent;
    if (!context.leasesKnown()) return;
    const nodes = context.nodes();
    const now = context.environment.monotonic();
    const seen = new Set<string>();
    for (const { value } of context.store.volumes()) {
      const layer = restoringLayer(value);
      const target = value.restoredFrom?.target ?? '';
      if (layer?.restoring === undefined || !targets.includes(target)) continue;
      const { node, pool } = layer.restoring;
      if (nodes.some((n) => n.name === node && n.pool === pool && n.lease !== null)) continue;
      seen.add(node);
      const since = this.#away.get(node) ?? now;
      this.#away.set(node, since);
      const { self } = context;
      if (now - since < awayMs || successor(nodes, target) !== self.node) continue;
      const to = { node: self.node, pool: self.pool };
      const from = { node, pool };
      await agent.worker(value.id).change((v) => takeOverRestore(v, layer.id, from, to));
      context.events.emit(
        'volume.restoring',
        `${self.node} goes on with the restore of volume ${value.name}: ${node} is down.`,
        { volume: value.id, values: { from: node, to: self.node } },
      );
    }
    for (const node of this.#away.keys()) if (!seen.has(node)) this.#away.delete(node);
  }
}

/** The one node that takes over; all that have the target agree on it. */
function successor(nodes: readonly NodeView[], target: string): string | undefined {
  const able = nodes.filter(
    (n) => n.lease !== null && hasPool(n) && n.backupTargets?.includes(target),
  );
  const good = able.filter((n) => hasRoom(n) && !isDraining(n));
  return (good.length > 0 ? good : able).map((n) => n.name).sort()[0];
}

import type { TargetCalls, WriteResult } from '../backup/calls.ts';
import { ableNodes, dueInMs, nextToShip, overdueMs } from '../cluster/backup-plan.ts';
import { coordinatorOf } from '../cluster/coordinator.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import {
  beginEpisode,
  pendingEpisodes,
  plannedPrefix,
  recordFailed,
  recordShipped,
} from '../volume/episodes.ts';
import { assertStep } from '../volume/invariants.ts';
import { episodesOf } from '../volume/marks.ts';
import type { Episode, EpisodeId, LayerId, Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { BackupRetention } from './backup-retention.ts';
import { shipEpisode } from './backup-ship.ts';
import { atSealedPoint } from './sealed-point.ts';

/** How often it is looked what is due, besides when a record changes. */
const lookMs = 10_000;
const soonMs = 200;
/** A seal that waits longer is tried again at the next look. */
const sealTimeoutMs = 60_000;
const firstRetryMs = 5_000;
const lastRetryMs = 300_000;
/** Then another node is to try. */
const failuresHere = 3;
/** Backups that one node writes at a time. */
const atATime = 2;

export type BackupOptions = {
  /** Of one backup; 0: as fast as it goes. */
  bytesPerSecond: number;
  /** A directory for sockets. */
  socketDirectory: string;
};

type Failure = { count: number; notBefore: number; text: string };

/**
 * Keeps the plans of backups: seals what is due, where this node coordinates the volume, and writes
 * what this node is the one to ship. All that matters is in the records and in the repositories.
 */
export class BackupDuties {
  readonly #agent: Agent;
  readonly #targets: TargetCalls;
  readonly #options: BackupOptions;
  readonly #ends: (() => void)[] = [];
  /** `episode` is null when it is written, and what follows is done. */
  readonly #shipping = new Map<VolumeId, { episode: EpisodeId | null; stop: AbortController }>();
  readonly #beginning = new Set<VolumeId>();
  readonly #failures = new Map<string, Failure>();
  readonly #overdue = new Set<VolumeId>();
  /** Layers that were compared with what was sealed while this daemon runs. */
  readonly #checked = new Set<LayerId>();
  readonly #stop = new AbortController();
  readonly #retention: BackupRetention;
  #planned = false;

  constructor(agent: Agent, targets: TargetCalls, options: BackupOptions) {
    this.#agent = agent;
    this.#targets = targets;
    this.#options = options;
    this.#retention = new BackupRetention(agent.context, targets, this.#stop.signal);
  }

  start(): void {
    const { environment, store } = this.#agent.context;
    this.#ends.push(store.onChange(() => this.kick()));
    const again = () => {
      if (this.#stop.signal.aborted) return;
      this.kick();
      environment.after(lookMs, again);
    };
    again();
  }

  /** Writes that are under way end; they go on where they were. */
  stop(): void {
    this.#stop.abort(new HyperscaleError('cancelled', 'the daemon ends'));
    for (const end of this.#ends) end();
    for (const { stop } of this.#shipping.values()) stop.abort();
  }

  /** Looks soon what is to be done. */
  kick(): void {
    if (this.#planned || this.#stop.signal.aborted) return;
    this.#planned = true;
    this.#agent.context.environment.after(soonMs, () => {
      this.#planned = false;
      if (!this.#stop.signal.aborted) this.#look();
    });
  }

  /** Why this node failed to write an episode last, or null. */
  problemOf(episode: EpisodeId): string | null {
    return this.#failures.get(episode)?.text ?? null;
  }

  #look(): void {
    const { context } = this.#agent;
    const { store, self } = context;
    if (store.quarantine() !== null) return;
    const nodes = context.nodes();
    const now = Date.parse(context.environment.now());
    const view = { nodes, lookup: (id: VolumeId) => store.volume(id)?.value };
    const known = new Set<string>();
    for (const { value } of store.volumes()) {
      for (const { id } of episodesOf(value)) known.add(id);
      this.#endDropped(value);
      if (value.episodePlan === undefined && value.episodes === undefined) continue;
      if (context.leasesKnown() && coordinatorOf(value, nodes) === self.node) {
        this.#tellOverdue(value, now);
        if (dueInMs(value, now) === 0) this.#begin(value);
      }
      const next = nextToShip(value, self.node, view);
      if (next !== null) this.#ship(value, next);
    }
    for (const [id, { stop }] of this.#shipping) if (view.lookup(id) === undefined) stop.abort();
    for (const key of this.#failures.keys()) {
      if (!known.has(key) && view.lookup(key) === undefined) this.#failures.delete(key);
    }
  }

  /** An episode that somebody took out of the record is not written on. */
  #endDropped(volume: Volume): void {
    const shipping = this.#shipping.get(volume.id);
    if (shipping === undefined || shipping.episode === null) return;
    if (!pendingEpisodes(volume).some((e) => e.id === shipping.episode)) shipping.stop.abort();
  }

  #begin({ id, name }: Volume): void {
    if (this.#beginning.has(id) || !this.#mayTry(id)) return;
    this.#beginning.add(id);
    this.#beginEpisode(id)
      .then(() => this.#failures.delete(id))
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted || isHyperscaleError(error, 'conflict', 'not-found')) return;
        this.#failed(id, error, `Volume ${name} could not be sealed for its backup`, id);
      })
      .finally(() => {
        this.#beginning.delete(id);
        this.kick();
      });
  }

  async #beginEpisode(id: VolumeId): Promise<void> {
    const { environment, store } = this.#agent.context;
    const late = new AbortController();
    environment.after(sealTimeoutMs, () => late.abort());
    const signal = AbortSignal.any([late.signal, this.#stop.signal]);
    await atSealedPoint(this.#agent, id, signal, async (record) => {
      const at = environment.now();
      // Meanwhile the plan may have been taken away, or another node was faster.
      const { episodePlan } = record.value;
      if (episodePlan === undefined || dueInMs(record.value, Date.parse(at)) !== 0) {
        return record.value;
      }
      const wish = {
        id: environment.randomId(),
        name: plannedName(at),
        target: episodePlan.target,
      };
      const next = beginEpisode(record.value, { ...wish, at });
      assertStep(record.value, next);
      return (await store.swap(record, { ...next, operation: environment.randomId() }))?.value;
    });
  }

  #ship(volume: Volume, episode: Episode): void {
    if (this.#shipping.has(volume.id) || this.#shipping.size >= atATime) return;
    if (!this.#targets.names().includes(episode.target) || !this.#mayTry(episode.id)) return;
    const stop = new AbortController();
    this.#shipping.set(volume.id, { episode: episode.id, stop });
    const signal = AbortSignal.any([stop.signal, this.#stop.signal]);
    this.#shipEpisode(volume, episode, signal)
      .catch(async (error: unknown) => {
        if (this.#stop.signal.aborted) return;
        if (signal.aborted) await this.#discard(volume.id, episode);
        else await this.#shipFailed(volume, episode, error);
      })
      .catch((error: unknown) => {
        this.#agent.context.log.warn({ volume: volume.id, error: errorText(error) }, 'backup');
      })
      .finally(() => {
        this.#shipping.delete(volume.id);
        this.kick();
      });
  }

  async #shipEpisode(volume: Volume, episode: Episode, signal: AbortSignal): Promise<void> {
    const { context, work } = this.#agent;
    const worker = this.#agent.worker(volume.id);
    const shown = {
      ...{ node: context.self.node, volume: volume.id, kind: 'backup' as const },
      ...{ layer: episode.id, from: null, doneBytes: 0, totalBytes: null as number | null },
      startedAt: context.environment.now(),
    };
    await work.during(shown, async (entry) => {
      const written = await shipEpisode(worker, this.#targets, episode.id, {
        signal,
        bytesPerSecond: this.#options.bytesPerSecond,
        checked: this.#checked,
        socket: `${this.#options.socketDirectory}/${episode.id.slice(0, 12)}.sock`,
        progress: (progress) => Object.assign(entry, progress),
      });
      const shipping = this.#shipping.get(volume.id);
      if (shipping !== undefined) shipping.episode = null;
      await worker.change((v) => recordShipped(v, episode.id, written.entry.id));
      this.#failures.delete(episode.id);
      this.#overdue.delete(volume.id);
      this.#tellWritten(volume, episode, written);
    });
    if (episode.asked === undefined) {
      await this.#retention.prune(volume.id, episode.target, signal);
    }
  }

  #tellWritten(volume: Volume, episode: Episode, written: WriteResult): void {
    const { events } = this.#agent.context;
    const { entry, isNew, readBytes, sentBytes, whole } = written;
    const text = isNew
      ? `Backup ${entry.name} of volume ${volume.name} is on ${episode.target}; ${readBytes} bytes were read and ${sentBytes} sent.`
      : `Volume ${volume.name} is as in backup ${entry.name} on ${episode.target}; none was written.`;
    events.emit(isNew ? 'backup.written' : 'backup.unchanged', text, {
      volume: volume.id,
      values: { target: episode.target, backup: entry.id, readBytes, sentBytes, whole },
    });
  }

  async #discard(volume: VolumeId, { at, name, target }: Episode): Promise<void> {
    await this.#targets.call(target, 'discard', { volume, name, at: Date.parse(at) });
  }

  async #shipFailed(volume: Volume, episode: Episode, error: unknown): Promise<void> {
    const now = this.#agent.worker(volume.id).volume;
    // Another node was faster, or it is not wanted any more.
    if (now === undefined || !pendingEpisodes(now).some((e) => e.id === episode.id)) return;
    const what = `Backup ${episode.name} of volume ${volume.name} could not be written to ${episode.target}`;
    const failure = this.#failed(episode.id, error, what, volume.id);
    if (failure.count % failuresHere !== 0) return;
    const { self } = this.#agent.context;
    const able = ableNodes(episode.target, this.#agent.context.nodes());
    if (able.length < 2) return;
    await this.#agent.worker(volume.id).change((v) => recordFailed(v, episode.id, self.node, able));
  }

  #mayTry(key: string): boolean {
    const { environment } = this.#agent.context;
    return environment.monotonic() >= (this.#failures.get(key)?.notBefore ?? 0);
  }

  #failed(key: string, error: unknown, what: string, volume: VolumeId): Failure {
    const { environment, events, log } = this.#agent.context;
    const before = this.#failures.get(key);
    const count = (before?.count ?? 0) + 1;
    const delay = Math.min(firstRetryMs * 2 ** Math.min(count - 1, 10), lastRetryMs);
    const text = errorText(error);
    const failure = { count, notBefore: environment.monotonic() + delay, text };
    this.#failures.set(key, failure);
    log.warn({ volume, error: text, retryMs: delay }, 'a backup failed; it is tried again');
    if (before?.text !== text) {
      events.emit('backup.failed', `${what}: ${text}. It is tried again.`, { volume });
    }
    environment.after(delay, () => this.kick());
    return failure;
  }

  #tellOverdue(volume: Volume, now: number): void {
    const late = overdueMs(volume, now);
    if (late === null) this.#overdue.delete(volume.id);
    if (late === null || this.#overdue.has(volume.id)) return;
    this.#overdue.add(volume.id);
    const minutes = Math.ceil(late / 60_000);
    this.#agent.context.events.emit(
      'backup.overdue',
      `The backup of volume ${volume.name} on ${volume.episodePlan?.target} is overdue by ${minutes} minutes.`,
      { volume: volume.id, values: { target: volume.episodePlan?.target } },
    );
  }
}

function plannedName(at: string): string {
  return `${plannedPrefix}${at.replace(/\.\d+/, '').replaceAll(/[-:]/g, '')}`;
}

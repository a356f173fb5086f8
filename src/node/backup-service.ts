import type {
  BackupRequest,
  BackupService,
  BackupTarget,
  EpisodeState,
} from '../api/backup-service.ts';
import type { TargetCalls } from '../backup/calls.ts';
import type { BackupEntry } from '../backup/entry.ts';
import type { Manifest } from '../backup/records.ts';
import type { SweepReport } from '../backup/sweep.ts';
import type { VerifyMode, VerifyReport } from '../backup/verify.ts';
import { shipperOf } from '../cluster/backup-plan.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { chooseBackup } from '../restore/choose.ts';
import { beginEpisode, beginEpisodeOf, dropEpisode, plannedPrefix } from '../volume/episodes.ts';
import { assertStep } from '../volume/invariants.ts';
import { episodesOf } from '../volume/marks.ts';
import type { Episode, NodeView, Volume, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import type { BackupDuties } from './backup-duties.ts';
import { targetFor } from './backup-target.ts';
import { findVolume } from './find-volume.ts';
import { atSealedPoint } from './sealed-point.ts';

/** Volumes that are swept at a time: on NFS each waits minutes, and they wait together. */
const sweepsAtATime = 4;

/** Backups, asked for on this node. */
export class Backups implements BackupService {
  readonly #agent: Agent;
  readonly #targets: TargetCalls;
  readonly #duties: BackupDuties;

  constructor(agent: Agent, targets: TargetCalls, duties: BackupDuties) {
    this.#agent = agent;
    this.#targets = targets;
    this.#duties = duties;
  }

  async targets(): Promise<BackupTarget[]> {
    const nodes = this.#agent.context.nodes();
    const names = [...new Set(nodes.flatMap((n) => n.backupTargets ?? []))].sort();
    return await Promise.all(names.map((name) => this.#describe(name, nodes)));
  }

  async createRepository(target: string, options: { chunkBytes?: number }): Promise<BackupTarget> {
    await this.#targets.call(target, 'create', options);
    return await this.#describe(target, this.#agent.context.nodes());
  }

  async list(target: string, volume: string | null): Promise<BackupEntry[]> {
    if (volume === null) return await this.#targets.call(target, 'list', {});
    const id = this.#idOf(volume);
    const known = id === null ? [] : await this.#targets.call(target, 'list', { volume: id });
    if (known.length > 0) return known;
    // Perhaps the name, or the id, of one that is deleted.
    const all = await this.#targets.call(target, 'list', {});
    return all.filter((e) => e.volume === volume || e.volumeName === volume);
  }

  async show(target: string, backup: string): Promise<Manifest> {
    const { id, volume } = await this.#find(target, backup);
    return await this.#targets.call(target, 'show', { volume, id });
  }

  async remove(target: string, backup: string, signal: AbortSignal): Promise<BackupEntry> {
    const entry = await this.#find(target, backup);
    await this.#targets.call(
      target,
      'remove',
      { volume: entry.volume, ids: [entry.id] },
      { signal },
    );
    const text = `Backup ${entry.name} of volume ${entry.volumeName} on ${target} is deleted.`;
    this.#agent.context.events.emit('backup.deleted', text, {
      volume: entry.volume,
      values: { target, backup: entry.id },
    });
    this.#sweepSoon(target, entry);
    return entry;
  }

  async verify(
    target: string,
    { backup, mode, volume }: { backup: string | null; volume: string | null; mode: VerifyMode },
    signal: AbortSignal,
  ): Promise<VerifyReport> {
    const chosen = backup === null ? null : await this.#find(target, backup);
    const entries = chosen === null ? await this.list(target, volume) : [chosen];
    const report: VerifyReport = { backups: 0, objects: 0, bytes: 0, bad: [], damaged: [] };
    const volumes = [...new Set(entries.map((e) => e.volume))];
    for (const id of volumes) {
      const ids = chosen === null ? null : [chosen.id];
      const one = await this.#verifyVolume(target, id, { ids, mode }, signal);
      report.backups += one.backups;
      report.objects += one.objects;
      report.bytes += one.bytes;
      report.bad.push(...one.bad);
      report.damaged.push(...one.damaged);
    }
    for (const { entry } of report.damaged) {
      this.#agent.context.events.emit(
        'backup.damaged',
        `Backup ${entry.name} of volume ${entry.volumeName} on ${target} cannot be restored whole.`,
        { volume: entry.volume, values: { target, backup: entry.id } },
      );
    }
    return report;
  }

  async sweep(target: string, volume: string | null, signal: AbortSignal): Promise<SweepReport> {
    const volumes = await this.#volumesOf(target, volume);
    const total = { deletedObjects: 0, deletedBytes: 0, keptObjects: 0, droppedPins: 0 };
    const failures: string[] = [];
    const turn = async () => {
      for (let id = volumes.shift(); id !== undefined; id = volumes.shift()) {
        try {
          const swept = await this.#targets.call(target, 'sweep', { volume: id }, { signal });
          total.deletedObjects += swept.deletedObjects;
          total.deletedBytes += swept.deletedBytes;
          total.keptObjects += swept.keptObjects;
          total.droppedPins += swept.droppedPins;
        } catch (error) {
          // One volume whose index is damaged must not hold up all others.
          if (!isHyperscaleError(error, 'damaged', 'conflict')) throw error;
          failures.push(errorText(error));
        }
      }
    };
    await Promise.all(Array.from({ length: sweepsAtATime }, turn));
    if (failures.length === 0) return total;
    throw new HyperscaleError('damaged', failures.join('; '), {
      hint: `All else was swept. See which backups are damaged: hscli backup verify ${target}`,
      values: { target, ...total },
    });
  }

  async begin(
    idOrName: string,
    request: BackupRequest,
    signal: AbortSignal,
  ): Promise<{ volume: Volume; episode: Episode }> {
    const { environment, store } = this.#agent.context;
    const { value } = findVolume(store, idOrName);
    const at = environment.now();
    const wish = {
      id: environment.randomId(),
      name: request.name ?? `backup-${at.replace(/\.\d+/, '').replaceAll(/[-:]/g, '')}`,
      target: targetFor(value, request.target, this.#agent.context.nodes()),
      asked: true as const,
    };
    if (wish.name.startsWith(plannedPrefix)) {
      throw new HyperscaleError('bad-input', `a backup cannot be called ${wish.name}`, {
        hint: `Names with ${plannedPrefix} are those of the plan, which also removes them.`,
      });
    }
    const { snapshot } = request;
    // What cannot be is told before anything is sealed for it.
    if (value.tail.phase === 'open' && snapshot === null) beginEpisode(value, { ...wish, at });
    const volume =
      snapshot === null
        ? await atSealedPoint(this.#agent, value.id, signal, async (record) => {
            const next = beginEpisode(record.value, { ...wish, at: environment.now() });
            assertStep(record.value, next);
            const operation = environment.randomId();
            return (await store.swap(record, { ...next, operation }))?.value;
          })
        : await this.#agent.worker(value.id).change((v) => beginEpisodeOf(v, snapshot, wish));
    const episode = episodesOf(volume).find((e) => e.id === wish.id);
    if (episode === undefined) throw new HyperscaleError('internal', 'the episode is not there');
    return { volume, episode };
  }

  async episodes(idOrName: string): Promise<EpisodeState[]> {
    const { nodes, store } = this.#agent.context;
    const { value } = findVolume(store, idOrName);
    const lookup = (id: VolumeId) => store.volume(id)?.value;
    const waiting = episodesOf(value).some((e) => e.backup === undefined);
    const work = waiting ? await this.#workOn(value.id) : [];
    return episodesOf(value).map((episode) => {
      const shipper =
        episode.backup === undefined ? shipperOf(value, episode, { nodes: nodes(), lookup }) : null;
      const mine = work.find((w) => w.episode === episode.id);
      return {
        ...{ ...episode, shipper, problem: this.#duties.problemOf(episode.id) },
        ...{ doneBytes: mine?.doneBytes ?? 0, totalBytes: mine?.totalBytes ?? null },
      };
    });
  }

  async cancel(idOrName: string, episode: string): Promise<void> {
    const { value } = findVolume(this.#agent.context.store, idOrName);
    await this.#agent.worker(value.id).change((v) => dropEpisode(v, episode));
  }

  /** Work on this node and on others, by the episode that it is for. */
  async #workOn(volume: VolumeId) {
    const { context, work } = this.#agent;
    const others = context
      .nodes()
      .filter((n) => n.name !== context.self.node && n.lease !== null)
      .map((n) => context.peers.of(n.name, { timeoutMs: 1_000 }).work());
    const told = await Promise.allSettled(others);
    const all = [...work.list(), ...told.flatMap((t) => (t.status === 'fulfilled' ? t.value : []))];
    return all
      .filter((w) => w.kind === 'backup' && w.volume === volume)
      .map((w) => ({ ...w, episode: w.layer }));
  }

  async #describe(name: string, nodes: readonly NodeView[]): Promise<BackupTarget> {
    const known = nodes.filter((n) => n.backupTargets?.includes(name) === true);
    const target = { name, nodes: known.map((n) => n.name), repository: null, problem: null };
    if (!this.#targets.names().includes(name)) return target;
    try {
      const { chunkBytes, encrypted, id } = await this.#targets.call(name, 'describe', {});
      return { ...target, repository: { id, chunkBytes, encrypted } };
    } catch (error) {
      return { ...target, problem: errorText(error) };
    }
  }

  async #find(target: string, backup: string): Promise<BackupEntry> {
    const all = await this.#targets.call(target, 'list', {});
    return chooseBackup(all, { backup }, target);
  }

  async #verifyVolume(
    target: string,
    volume: VolumeId,
    { ids, mode }: { ids: string[] | null; mode: VerifyMode },
    signal: AbortSignal,
  ): Promise<VerifyReport> {
    const { context, work } = this.#agent;
    const shown = {
      ...{
        node: context.self.node,
        volume,
        kind: 'backup' as const,
        layer: 'verify',
        from: target,
      },
      ...{ doneBytes: 0, totalBytes: null as number | null, startedAt: context.environment.now() },
    };
    return await work.during(shown, (entry) =>
      this.#targets.call(
        target,
        'verify',
        { volume, ids, mode },
        { signal, progress: (progress) => Object.assign(entry, progress) },
      ),
    );
  }

  async #volumesOf(target: string, volume: string | null): Promise<VolumeId[]> {
    if (volume === null) return await this.#targets.call(target, 'volumes', {});
    const id = this.#idOf(volume);
    const known = (await this.list(target, volume)).map((e) => e.volume);
    return [...new Set([...(id === null ? [] : [id]), ...known])];
  }

  /** Frees what only that backup needed; nobody waits for it, and the next sweep does the same. */
  #sweepSoon(target: string, { volume, volumeName }: BackupEntry): void {
    const { events } = this.#agent.context;
    this.#targets.call(target, 'sweep', { volume }).catch((error: unknown) => {
      events.emit(
        'backup.sweep-failed',
        `Space of old backups of ${volumeName} on ${target} is not freed: ${errorText(error)}.`,
        { volume, values: { target } },
      );
    });
  }

  #idOf(volume: string): VolumeId | null {
    try {
      return findVolume(this.#agent.context.store, volume).value.id;
    } catch (error) {
      if (isHyperscaleError(error, 'not-found')) return null;
      throw error;
    }
  }
}

import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RestoreRequest, RestoreService } from '../api/restore-service.ts';
import type { TargetSettings } from '../daemon/backup-config.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { makeRecord } from '../image/import.ts';
import { assertPossible } from '../image/possible.ts';
import type { ImportRecords } from '../image/records.ts';
import { ImportSlots } from '../image/slots.ts';
import { workingOn } from '../image/working.ts';
import type { Agent } from '../node/agent.ts';
import type { NodeView, RestoredFrom, Volume } from '../volume/types.ts';
import { ServedBackup } from './served-backup.ts';
import type { Streams } from './streams.ts';

type Parts = {
  agent: Agent;
  records: ImportRecords;
  targets: Readonly<Record<string, TargetSettings>>;
  logDirectory: string;
  streams: Streams;
};

/** Volumes from backups, as one node's daemon makes them. */
export class Restores implements RestoreService {
  readonly #parts: Parts;
  readonly #directory: string;
  readonly #slots = new ImportSlots('restore');

  private constructor(parts: Parts, directory: string) {
    this.#parts = parts;
    this.#directory = directory;
  }

  /** @param runDirectory gets a directory for sockets; what is in it is of an earlier daemon. */
  static async open(parts: Parts, runDirectory: string): Promise<Restores> {
    const directory = join(runDirectory, 'restore');
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { mode: 0o700 });
    return new Restores(parts, directory);
  }

  async restore(request: RestoreRequest, signal: AbortSignal): Promise<Volume> {
    const { agent } = this.#parts;
    const settings = this.#settings(request.target);
    const { name, target, wish } = request;
    return await this.#slots.during(name, async () => {
      assertPossible(agent.context, request);
      if (request.stream) return await this.#parts.streams.begin(request, signal);
      const socket = join(this.#directory, `${randomBytes(8).toString('hex')}.sock`);
      const asked = { target, settings, wish, socket };
      const served = await ServedBackup.start(asked, this.#parts.logDirectory, signal);
      try {
        return await this.#make(request, served, signal);
      } catch (error) {
        throw reasonOf(error, served.failure);
      } finally {
        await served.close();
      }
    });
  }

  async #make(
    { name, policy, target }: RestoreRequest,
    served: ServedBackup,
    signal: AbortSignal,
  ): Promise<Volume> {
    const { agent, records } = this.#parts;
    const { content, engine, environment, events } = agent.context;
    const { entry, sizeBytes } = served;
    const restoredFrom: RestoredFrom = {
      target,
      backup: entry.id,
      volume: entry.volume,
      volumeName: entry.volumeName,
      at: new Date(entry.at).toISOString(),
    };
    const place = {
      layers: engine.layers,
      content,
      environment,
      records,
      working: workingOn(agent, 'restore'),
    };
    const wanted = { name, policy, sizeBytes, restoredFrom, as: 'volume' } as const;
    const source = { path: served.socket, format: 'nbd' } as const;
    const volume = await makeRecord(place, wanted, source, signal);
    events.emit('volume.restored', `Volume ${name} was made of a backup of ${entry.volumeName}.`, {
      volume: volume.id,
      values: { ...restoredFrom, sizeBytes },
    });
    return volume;
  }

  #settings(target: string): TargetSettings {
    const { agent, targets } = this.#parts;
    const settings = Object.hasOwn(targets, target) ? targets[target] : undefined;
    if (settings !== undefined) return settings;
    const { node } = agent.context.self;
    throw new HyperscaleError('not-found', `node ${node} has no backup target ${target}`, {
      hint: whereIs(target, agent.context.nodes()),
      values: { node, target },
    });
  }
}

function whereIs(target: string, nodes: readonly NodeView[]): string {
  const having = nodes.filter((n) => n.backupTargets?.includes(target)).map((n) => n.name);
  if (having.length > 0) return `Ask a node that has it: ${having.join(', ')}.`;
  return 'Targets are set in the configuration of nodes (backup.targets): docs/backup.md.';
}

/** What went wrong with the backup is told rather than that its reader could not go on. */
function reasonOf(error: unknown, failure: HyperscaleError | null): unknown {
  if (!isHyperscaleError(error, 'bad-input', 'engine')) return error;
  if (failure !== null) return failure;
  return new HyperscaleError('unavailable', 'the backup could not be read to its end', {
    hint: 'Try again; the log directory has restore.log.',
    cause: error,
  });
}

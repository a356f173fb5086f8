import type { CallName, CallOptions, Calls, TargetCalls } from '../../src/backup/calls.ts';
import type { BackupEntry } from '../../src/backup/entry.ts';
import { retain } from '../../src/backup/retention.ts';
import type { BlockNode } from '../../src/engine/graphs.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { type ReadBlock, readerOf } from './backup-reader.ts';
import type { Checker } from './checker.ts';
import type { Core, Machine, Random } from './core.ts';
import { blocksOf } from './disk.ts';
import type { NodeRun } from './node-run.ts';
import type { Processes } from './processes.ts';

const answerMs = [5, 200] as const;
const readMs = [5, 250] as const;

type Backup = { entry: BackupEntry; content: readonly number[] };

/** What lies on one backup target; it outlives everything. */
export class SimRepository {
  backups: Backup[] = [];
  /** It answers nobody. */
  down = false;
}

/** Which nodes have which targets: in half of the histories none has any. */
export function simTargets(random: Random, machines: readonly Machine[]): Map<string, string[]> {
  const names = random.chance(0.5) ? [] : random.chance(0.7) ? ['nas'] : ['nas', 's3'];
  const all = machines.map((m) => m.name);
  return new Map(
    names.map((name) => {
      const some = all.filter(() => random.chance(0.6));
      return [name, some.length > 0 ? some : [random.pick(all)]];
    }),
  );
}

/** What a daemon's calls need of the world. */
export type TargetParts = {
  core: Core;
  checker: Checker;
  processes: Processes;
  machine: Machine;
  machines: readonly Machine[];
  run: NodeRun;
  /** All of them, and those that are in the configuration of this node. */
  targets: ReadonlyMap<string, SimRepository>;
  known: readonly string[];
};

/** The backup targets of one life of a daemon: what `src/backup/perform.ts` does, with numbers. */
export class SimTargets implements TargetCalls {
  readonly #parts: TargetParts;

  constructor(parts: TargetParts) {
    this.#parts = parts;
  }

  names(): string[] {
    return [...this.#parts.known];
  }

  async call<Name extends CallName>(
    target: string,
    name: Name,
    args: Calls[Name]['args'],
    options: CallOptions = {},
  ): Promise<Calls[Name]['result']> {
    const repository = this.#parts.targets.get(target);
    if (repository === undefined || !this.#parts.known.includes(target)) {
      throw new HyperscaleError('not-found', `there is no backup target ${target}`);
    }
    const { signal } = options;
    await this.#wait(answerMs, signal);
    this.#mustAnswer(repository);
    const carryOut: Partial<{ [N in CallName]: (args: Calls[N]['args']) => unknown }> = {
      list: ({ volume }) => this.#list(repository, volume),
      discard: () => 0,
      prune: (wanted) => this.#prune(repository, wanted),
      sweep: () => ({ deletedObjects: 0, deletedBytes: 0, keptObjects: 0, droppedPins: 0 }),
      write: (request) => this.#write(repository, request, signal),
    };
    const work = carryOut[name];
    if (work === undefined) throw new HyperscaleError('not-allowed', `${name} is not simulated`);
    return (await work(args)) as Calls[Name]['result'];
  }

  #list({ backups }: SimRepository, volume: string | undefined): BackupEntry[] {
    const entries = backups.map(({ entry }) => entry);
    return volume === undefined ? entries : entries.filter((e) => e.volume === volume);
  }

  #prune(
    repository: SimRepository,
    { volume, prefix, keep, held }: Calls['prune']['args'],
  ): BackupEntry[] {
    const planned = this.#list(repository, volume).filter((e) => e.name.startsWith(prefix));
    const { remove } = retain(keep, planned, Number.MAX_SAFE_INTEGER, new Set(held));
    repository.backups = repository.backups.filter(({ entry }) => !remove.includes(entry));
    return remove;
  }

  /** Of a base only what the layers above it hold is read; the rest is as it was. */
  async #write(
    repository: SimRepository,
    request: Calls['write']['args'],
    signal: AbortSignal | undefined,
  ): Promise<Calls['write']['result']> {
    const { at, base, chain, name, sizeBytes, unlessSame, volume, volumeName } = request;
    const same = ({ entry }: Backup) =>
      entry.volume === volume && entry.name === name && entry.at === at;
    const known = base && repository.backups.find(({ entry }) => entry.id === base.backup);
    const depth = known === null || known === undefined ? Infinity : (base?.layers ?? 0);
    const read = this.#open(chain, depth);
    const content: number[] = [];
    let changed = false;
    for (let block = 0; block < blocksOf(sizeBytes); block += 1) {
      await this.#wait(readMs, signal);
      this.#mustAnswer(repository);
      const value = read(block);
      if (value !== 0) changed = true;
      content.push(value === 0 ? (known?.content[block] ?? 0) : value);
    }
    const rest = { readBytes: 0, sentBytes: 0, parent: known?.entry.id ?? null, whole: !known };
    if (unlessSame && known && !changed && base?.sizeBytes === sizeBytes) {
      const { entry } = repository.backups.find(same) ?? known;
      return { entry, isNew: false, ...rest };
    }
    // Two nodes may write it; it is one backup.
    const there = repository.backups.find(same);
    if (there !== undefined) return { entry: there.entry, isNew: true, ...rest };
    const id = this.#parts.core.random.hex(32);
    const entry = { volume, volumeName, id, at, sizeBytes, storedBytes: 0, name };
    repository.backups.push({ entry, content });
    this.#parts.checker.backups.set(id, content);
    return { entry, isNew: true, ...rest };
  }

  #open(chain: BlockNode | null, depth: number): ReadBlock {
    const { processes, machine, machines } = this.#parts;
    return readerOf(chain, depth, { processes, machine, machines });
  }

  #mustAnswer({ down }: SimRepository): void {
    if (down) throw new HyperscaleError('unavailable', 'the backup target does not answer');
  }

  async #wait([least, most]: readonly [number, number], signal?: AbortSignal): Promise<void> {
    const { core, run } = this.#parts;
    await new Promise<void>((resolve) => run.after(core.random.int(least, most), resolve));
    if (signal?.aborted) throw new HyperscaleError('cancelled', 'the call was cancelled');
  }
}

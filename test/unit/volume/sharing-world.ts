/**
 * A small world of records that share layers: what the files hold, which heads read them, and beside
 * that a plain model of what each volume and each snapshot shows, which knows nothing of layers.
 */
import { HyperscaleError, isHyperscaleError } from '../../../src/errors.ts';
import type { Context } from '../../../src/node/context.ts';
import { SharedReaders } from '../../../src/node/shared-readers.ts';
import { createVolume } from '../../../src/volume/create.ts';
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import { goesOnFrom, type Lookup, layersBelow, layersSeen } from '../../../src/volume/lineage.ts';
import { clonesOf, episodesOf, placeOf, snapshotsOf } from '../../../src/volume/marks.ts';
import { cleanReplicas, unsealedLayer } from '../../../src/volume/queries.ts';
import type { LayerId, NodeName, NodeView, Policy, Volume } from '../../../src/volume/types.ts';
import { deepFreeze, node as nodeView, poolOf } from './fixtures.ts';
import { overlay } from './world-checks.ts';
import { blockBytes, blockCount } from './world-types.ts';

/** Ways in which the code around the transitions can be wrong; the checks must notice each. */
export type SharingFault =
  | 'clones-without-note'
  | 'snapshots-without-seal'
  | 'deletes-what-is-read'
  | 'forgets-living-clones'
  | 'merges-what-is-seen'
  | 'reverts-below-clones'
  | 'deletes-bases'
  | 'ships-one-layer';

/** What somebody who looks at a volume or a snapshot sees. */
export type Shown = { blocks: number[]; sizeBytes: number };

/** A head that lives: what it reads, and from where. */
type Reader = {
  volume: string;
  node: NodeName;
  layer: LayerId;
  sources: { layer: LayerId; from: NodeName }[];
};

/** What a mark on what is sealed would show. */
export function sealedNow(world: SharingWorld, { id, tail, chain }: Volume): Shown | undefined {
  const shown = structuredClone(world.sealed.get(id));
  if (shown === undefined) return undefined;
  // A size that it was given since the seal, while nobody wrote it, is that of the open layer.
  const now = world.shows.get(id)?.sizeBytes ?? 0;
  const top = tail.phase === 'idle' ? undefined : chain.at(-1);
  shown.sizeBytes = top?.sizeBytes ?? now;
  return shown;
}

export const nothing = (): number[] => new Array<number>(blockCount).fill(0);

export class SharingWorld {
  readonly nodes: readonly NodeName[] = ['n1', 'n2', 'n3'];
  readonly records = new Map<string, Volume>();
  /** What each layer holds, for ever; also of those that are open. */
  readonly content = new Map<LayerId, number[]>();
  /** `node/layer`. */
  readonly files = new Set<string>();
  readonly heads = new Map<string, Reader>();
  readonly faults: ReadonlySet<SharingFault>;
  readonly counts: Record<string, number> = {};
  /** The model: what each volume shows, and what it showed when it was sealed for the last time. */
  readonly shows = new Map<string, Shown>();
  readonly sealed = new Map<string, Shown>();
  /** What lies in backups, by their ids. */
  readonly backups = new Map<string, number[]>();
  /** By `volume/snapshot`, and of points that are backed up. */
  readonly kept = new Map<string, Shown>();
  readonly #policy: Policy;
  readonly #readers = new Map<string, SharedReaders>();
  #ids = 0;

  constructor(policy: Policy, faults: readonly SharingFault[] = []) {
    this.#policy = policy;
    this.faults = new Set(faults);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  newId(prefix: string): string {
    this.#ids += 1;
    return `${prefix}${this.#ids}`;
  }

  lookup: Lookup = (id) => this.records.get(id);

  views(): NodeView[] {
    return this.nodes.map((name) => nodeView(name));
  }

  /** Those that somebody can name. */
  volumes(): Volume[] {
    return [...this.records.values()].filter((v) => this.shows.has(v.id));
  }

  create(): void {
    const id = this.newId('v');
    const sizeBytes = 2 * blockBytes;
    const policy = this.#policy;
    this.records.set(id, createVolume({ id, name: id, sizeBytes, policy, createdAt: '' }));
    this.show(id, { blocks: nothing(), sizeBytes });
  }

  /** From now on the volume shows this, and all of it is sealed. */
  show(id: string, { blocks, sizeBytes }: Shown): void {
    this.shows.set(id, { blocks: [...blocks], sizeBytes });
    this.sealed.set(id, { blocks: [...blocks], sizeBytes });
  }

  /** A compare-and-swap; null when the step does not fit. */
  change(id: string, step: (volume: Volume) => Volume): Volume | null {
    const before = this.records.get(id);
    if (before === undefined) return null;
    try {
      const next = step(before);
      if (next === before) return null;
      assertStep(before, next);
      const after = deepFreeze({ ...next, operation: this.newId('op') });
      this.records.set(id, after);
      if (unsealedLayer(after)?.id !== this.heads.get(id)?.layer) this.heads.delete(id);
      return after;
    } catch (error) {
      if (isHyperscaleError(error, 'rule-broken', 'internal')) throw error;
      if (!(error instanceof HyperscaleError)) throw error;
      this.count(`refused ${error.code}`);
      return null;
    }
  }

  /** A new record, with the note in the one it goes on from, both or neither. */
  add(clone: Volume, noted: { before: Volume; after: Volume } | null): boolean {
    assertRecord(clone);
    if (noted !== null) {
      const { before, after } = noted;
      if (this.records.get(before.id) !== before) return false;
      if (after !== before) this.change(before.id, () => after);
    }
    this.records.set(clone.id, deepFreeze(clone));
    return true;
  }

  /** Layers of garbage, as `src/node/shared-readers.ts` has them, that clones may read here. */
  async held(volume: Volume, node: NodeName): Promise<ReadonlySet<LayerId>> {
    if (this.faults.has('deletes-what-is-read')) return new Set();
    const key = `${volume.id}/${node}`;
    const find = (id: string) => {
      const value = this.records.get(id);
      return value === undefined ? undefined : { value, revision: '' };
    };
    const context = {
      self: { node, pool: poolOf(node), boot: '' },
      engine: { replicas: { exports: () => this.#exports(node) } },
      store: { volume: find, readVolume: (id: string) => Promise.resolve(find(id)) },
    };
    const readers = this.#readers.get(key) ?? new SharedReaders(context as unknown as Context);
    this.#readers.set(key, readers);
    const mine = volume.garbage.filter((g) => g.holders.some((h) => h.node === node));
    return readers.held(
      volume,
      mine.map((g) => g.layer),
    );
  }

  /** What heads elsewhere read here. A head's own files stay its own, also when they are deleted. */
  #exports(node: NodeName): { key: { layer: LayerId } }[] {
    return [...this.heads.values()]
      .filter((head) => head.node !== node)
      .flatMap((head) => head.sources.filter((s) => s.from === node))
      .map(({ layer }) => ({ key: { layer } }));
  }

  /** Everything that must hold between two steps. */
  check(): void {
    for (const volume of this.records.values()) {
      if (volume.tail.phase === 'deleting') continue;
      this.#checkShown(volume);
      this.#checkNote(volume);
    }
    for (const { volume, node, sources } of this.heads.values()) {
      const remote = sources.filter(({ from }) => from !== node);
      const lost = remote.find(({ layer, from }) => !this.files.has(`${from}/${layer}`));
      if (lost)
        throw new Error(`the head of ${volume} reads ${lost.layer} on ${lost.from}: no file`);
    }
  }

  #checkShown(volume: Volume): void {
    const { id } = volume;
    const seen = layersSeen(volume, this.lookup);
    const below = layersBelow(volume, this.lookup);
    if (seen === null || below === null) throw new Error(`${id} goes on from what is not there`);
    for (const { home, layer } of seen) {
      for (const { node } of cleanReplicas(layer)) {
        const given = home.garbage.some(
          (g) => g.layer === layer.id && g.holders.some((h) => h.node === node),
        );
        if (given) throw new Error(`${id} sees ${layer.id}, which is garbage on ${node}`);
        const there = this.files.has(`${node}/${layer.id}`);
        if (!there) throw new Error(`${id} sees ${layer.id}, which ${node} has no file of`);
      }
    }
    const contents = seen.map(({ layer }) => this.content.get(layer.id) ?? []);
    const open = unsealedLayer(volume);
    const top = open === null ? [] : [this.content.get(open.id) ?? []];
    const model = this.shows.get(id);
    if (model) this.#same(id, model, [...contents, ...top], volume.sizeBytes);
    for (const snapshot of [...snapshotsOf(volume), ...episodesOf(volume)]) {
      const upTo = below.length + placeOf(volume, snapshot.layer) + 1;
      const was = this.kept.get(`${id}/${snapshot.id}`);
      if (was === undefined) throw new Error(`${id} has snapshot ${snapshot.id} that nobody made`);
      this.#same(`${id}@${snapshot.id}`, was, contents.slice(0, upTo), snapshot.sizeBytes);
    }
  }

  #same(what: string, model: Shown, layers: number[][], sizeBytes: number): void {
    const shown = overlay(layers).join();
    const expected = model.blocks.join();
    if (shown !== expected) throw new Error(`${what} shows ${shown}, not ${expected}`);
    if (sizeBytes !== model.sizeBytes) {
      throw new Error(`${what} has ${sizeBytes} bytes, not ${model.sizeBytes}`);
    }
  }

  #checkNote(volume: Volume): void {
    const { parent, leaving, id } = volume;
    const from = parent?.volume ?? leaving?.volume;
    const home = this.records.get(from ?? '');
    if (from === undefined) return;
    const note = home && clonesOf(home).find((c) => c.volume === id);
    const right = note !== undefined && (parent === undefined || note.layer === parent.layer);
    if (!right || !goesOnFrom(volume, from))
      throw new Error(`${from} has no note of its clone ${id}`);
  }
}

import { dependantsOf, seenBy } from '../volume/lineage.ts';
import { replicaOn } from '../volume/queries.ts';
import type { LayerId, NodeName, UnsealedLayer, Volume, VolumeId } from '../volume/types.ts';
import type { Context } from './context.ts';

/** A writer that does not answer by then may read it. */
const askTimeoutMs = 2_000;

/**
 * Knows when no head of a clone can be reading a copy on this node that is offered no longer. Heads
 * look for their layers after their epoch was prepared. So, when this node has stopped offering the
 * copy, those of epochs up to the one that the clone's record then has may read it, and later ones
 * do not. One that serves says itself whether it does.
 */
export class SharedReaders {
  readonly #context: Context;
  /** Of each layer the highest epoch of each clone when it was first asked for. */
  readonly #epochs = new Map<LayerId, Map<VolumeId, number>>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Those of a record's layers that are not offered here and may still be read. */
  async held(volume: Volume, layers: readonly LayerId[]): Promise<Set<LayerId>> {
    const held = new Set<LayerId>();
    const { store, self, engine } = this.#context;
    // Heads on this node do not count: a file that is deleted stays theirs, and none is changed that
    // somebody has open. Those elsewhere read through an export.
    const exported = new Set(engine.replicas.exports().map((e) => e.key.layer));
    const dependants = dependantsOf(volume, (id) => store.volume(id)?.value);
    for (const id of this.#epochs.keys()) if (!layers.includes(id)) this.#epochs.delete(id);
    if (dependants.length === 0) return held;
    for (const id of layers) {
      const dropped = isGarbageOn(volume, id, self.node);
      // An export may be gone with a boot, and a head that found it not know it yet: of what is to be
      // deleted it is asked all the same.
      if (!dropped && !exported.has(id)) continue;
      const layer = volume.chain.find((l) => l.id === id);
      if (layer !== undefined && replicaOn(layer, self.node)?.state === 'clean') continue;
      for (const clone of seenBy(volume, id, dependants)) {
        if (await this.#mayRead(id, clone.id)) held.add(id);
      }
    }
    return held;
  }

  async #mayRead(layer: LayerId, clone: VolumeId): Promise<boolean> {
    const now = (await this.#context.store.readVolume(clone))?.value;
    if (now === undefined) return false;
    const epochs = this.#epochs.get(layer) ?? new Map<VolumeId, number>();
    const upTo = epochs.get(clone) ?? now.epoch;
    this.#epochs.set(layer, epochs.set(clone, upTo));
    const { tail } = now;
    if (tail.phase === 'idle' || tail.phase === 'deleting') return false;
    if (tail.phase !== 'open') return true;
    return tail.layer.epoch <= upTo && !(await this.#readsElsewhere(layer, now.id, tail.layer));
  }

  /** True when the head of an epoch lives, of which there is one at most, and does not read it here. */
  async #readsElsewhere(layer: LayerId, clone: VolumeId, open: UnsealedLayer): Promise<boolean> {
    const { peers, self } = this.#context;
    try {
      const there = peers.of(open.writer, { timeoutMs: askTimeoutMs });
      const { heads } = await there.inspect({ volume: clone });
      const head = heads.find((h) => h.layer === open.id);
      return head?.sealed.every((s) => s.layer !== layer || s.from !== self.node) === true;
    } catch {
      return false;
    }
  }
}

function isGarbageOn(volume: Volume, layer: LayerId, node: NodeName): boolean {
  return volume.garbage.some((g) => g.layer === layer && g.holders.some((h) => h.node === node));
}

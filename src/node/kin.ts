import { dependantsOf, type Lookup } from '../volume/lineage.ts';
import type { Volume, VolumeId } from '../volume/types.ts';

/** Records that share layers: what one of them says concerns the others. */
export class Kin {
  readonly #lookup: Lookup;
  /** Remembered: a clone that was flattened, or is gone, says no more where its parent is to forget it. */
  readonly #parents = new Map<VolumeId, VolumeId>();

  constructor(lookup: Lookup) {
    this.#lookup = lookup;
  }

  /** Learns what records say that were there before anything changed. */
  begin(volumes: readonly Volume[]): void {
    for (const volume of volumes) this.#remember(volume.id, parentOf(volume));
  }

  /** Those that are to look again after a record has changed, or is gone (null). */
  of(id: VolumeId, volume: Volume | null): Set<VolumeId> {
    const kin = new Set<VolumeId>();
    let parent = (volume === null ? undefined : parentOf(volume)) ?? this.#parents.get(id);
    this.#remember(id, volume === null ? undefined : parent);
    while (parent !== undefined && !kin.has(parent)) {
      const record = this.#lookup(parent);
      if (record === undefined) break;
      kin.add(parent);
      parent = record.parent?.volume;
    }
    const dependants = volume === null ? [] : dependantsOf(volume, this.#lookup);
    for (const dependant of dependants) kin.add(dependant.volume.id);
    kin.delete(id);
    return kin;
  }

  #remember(id: VolumeId, parent: VolumeId | undefined): void {
    if (parent === undefined) this.#parents.delete(id);
    else this.#parents.set(id, parent);
  }
}

/** The record that it goes on from, or that its head may still read. */
function parentOf({ parent, leaving }: Volume): VolumeId | undefined {
  return parent?.volume ?? leaving?.volume;
}

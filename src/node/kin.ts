import { dependantsOf, type Lookup } from '../volume/lineage.ts';
import type { Volume, VolumeId } from '../volume/types.ts';

/** Records that share layers: what one of them says concerns the others. */
export class Kin {
  readonly #lookup: Lookup;
  /** Remembered, because the record of a clone is gone before its parent forgets it. */
  readonly #parents = new Map<VolumeId, VolumeId>();

  constructor(lookup: Lookup) {
    this.#lookup = lookup;
  }

  /** Those that are to look again after a record has changed, or is gone (null). */
  of(id: VolumeId, volume: Volume | null): Set<VolumeId> {
    const kin = new Set<VolumeId>();
    let parent = volume?.parent?.volume ?? this.#parents.get(id);
    if (volume === null || parent === undefined) this.#parents.delete(id);
    else this.#parents.set(id, parent);
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
}

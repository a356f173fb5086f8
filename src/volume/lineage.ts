/** Chains that go through several records: a clone shows its ancestors' layers below its own. */
import { clonesOf, placeOf } from './marks.ts';
import type { LayerId, SealedLayer, Volume, VolumeId } from './types.ts';

export type Lookup = (id: VolumeId) => Volume | undefined;

/** A sealed layer, and the record that it belongs to, which alone decides of its copies. */
export type SeenLayer = { home: Volume; layer: SealedLayer };

/** More generations than this are a damaged record. */
const mostGenerations = 256;

/**
 * The layers of ancestors that a volume shows below its own, oldest first; null when a record or a
 * layer of them is not known here, or not yet.
 */
export function layersBelow(volume: Volume, lookup: Lookup): SeenLayer[] | null {
  const parts: SeenLayer[][] = [];
  let { parent } = volume;
  for (let depth = 0; parent !== undefined; depth += 1) {
    const home = lookup(parent.volume);
    const place = home === undefined ? -1 : placeOf(home, parent.layer);
    if (home === undefined || place < 0 || depth >= mostGenerations) return null;
    parts.unshift(home.chain.slice(0, place + 1).map((layer) => ({ home, layer })));
    parent = home.parent;
  }
  return parts.flat();
}

/** Everything sealed that a volume shows, oldest first; null as for `layersBelow`. */
export function layersSeen(volume: Volume, lookup: Lookup): SeenLayer[] | null {
  const below = layersBelow(volume, lookup);
  return below && [...below, ...volume.chain.map((layer) => ({ home: volume, layer }))];
}

/**
 * True while a record goes on from another one, or its heads may still read that one's layers. What is
 * deleted shows nothing any more.
 */
export function goesOnFrom(clone: Volume | undefined, parent: VolumeId): clone is Volume {
  if (clone === undefined || clone.tail.phase === 'deleting') return false;
  return clone.parent?.volume === parent || clone.leaving?.volume === parent;
}

/** A record that shows layers of another one, up to and with `upTo`. */
export type Dependant = { volume: Volume; upTo: LayerId };

/** Clones of a record, their clones and so on, as far as they are known here. */
export function dependantsOf(volume: Volume, lookup: Lookup): Dependant[] {
  const found: Dependant[] = [];
  const visit = (of: Volume, upTo: LayerId | null, depth: number) => {
    for (const { volume: id, layer } of clonesOf(of)) {
      const clone = lookup(id);
      if (!goesOnFrom(clone, of.id) || depth >= mostGenerations) continue;
      const seen = upTo ?? layer;
      found.push({ volume: clone, upTo: seen });
      visit(clone, seen, depth + 1);
    }
  };
  visit(volume, null, 0);
  return found;
}

/** Those of them that show a certain layer. */
export function seenBy(volume: Volume, layer: LayerId, dependants: readonly Dependant[]): Volume[] {
  const place = placeOf(volume, layer);
  if (place < 0) return [];
  return dependants.filter((d) => placeOf(volume, d.upTo) >= place).map((d) => d.volume);
}

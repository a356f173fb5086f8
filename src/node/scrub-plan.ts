/** Which copy of this node is read next to see whether it is still what was sealed. Pure. */
import { replicaOn } from '../volume/queries.ts';
import type { LayerId, NodeName, SealedLayer, Volume, VolumeId } from '../volume/types.ts';

/** When each copy was last read whole, by its layer; ISO 8601. */
export type Scrubbed = Readonly<Record<LayerId, string>>;

export type ScrubTarget = { volume: VolumeId; layer: SealedLayer };

export const never = '1970-01-01T00:00:00.000Z';

/** The proven copies that a node holds: only these have something to be compared with. */
export function scrubTargets(
  volumes: readonly Volume[],
  self: { node: NodeName; pool: string },
): ScrubTarget[] {
  return volumes
    .filter((volume) => volume.tail.phase !== 'deleting')
    .flatMap(({ id, chain }) =>
      chain
        .filter((layer) => {
          const mine = replicaOn(layer, self.node);
          return layer.manifest !== null && mine?.pool === self.pool && mine.state === 'clean';
        })
        .map((layer) => ({ volume: id, layer })),
    );
}

/** What is remembered from now on: copies that are new were proven just now, others are forgotten. */
export function remembered(
  scrubbed: Scrubbed,
  targets: readonly ScrubTarget[],
  now: string,
): Scrubbed {
  return Object.fromEntries(targets.map(({ layer }) => [layer.id, scrubbed[layer.id] ?? now]));
}

/**
 * The copy that was not read for the longest time, and in how many milliseconds it is due; at once
 * when the clock was set back behind the time that was noted. Null when there is none.
 */
export function nextTarget(
  targets: readonly ScrubTarget[],
  scrubbed: Scrubbed,
  now: string,
  intervalMs: number,
): { target: ScrubTarget; inMs: number } | null {
  const present = Date.parse(now);
  let next: { target: ScrubTarget; inMs: number } | null = null;
  for (const target of targets) {
    const age = present - Date.parse(scrubbed[target.layer.id] ?? never);
    const inMs = age < 0 || Number.isNaN(age) ? 0 : Math.max(0, intervalMs - age);
    if (next === null || inMs < next.inMs) next = { target, inMs };
  }
  return next;
}

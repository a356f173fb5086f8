/** Points of volumes that are backed up, and backups, in the small world of records that share layers. */
import {
  baseOf,
  beginEpisode,
  beginEpisodeOf,
  dropEpisode,
  pendingEpisodes,
  recordShipped,
} from '../../../src/volume/episodes.ts';
import { layersBelow } from '../../../src/volume/lineage.ts';
import { placeOf, snapshotsOf } from '../../../src/volume/marks.ts';
import type { Volume } from '../../../src/volume/types.ts';
import { nothing, type SharingWorld, sealedNow } from './sharing-world.ts';
import { pick } from './world-actions.ts';
import { overlay } from './world-checks.ts';

const target = 'nas';

/** Of what is sealed, or of a snapshot. */
export function episode(world: SharingWorld, volume: Volume, b: number, c: number): boolean {
  const { id } = volume;
  const snapshot = c % 3 === 0 ? pick(snapshotsOf(volume), b) : undefined;
  const shown = snapshot ? world.kept.get(`${id}/${snapshot.id}`) : sealedNow(world, volume);
  const wish = { id: world.newId('e'), name: 'b', target, asked: true as const };
  if (shown === undefined) return false;
  const begun = world.change(id, (v) =>
    snapshot ? beginEpisodeOf(v, snapshot.id, wish) : beginEpisode(v, { ...wish, at: '' }),
  );
  if (begun === null) return false;
  world.kept.set(`${id}/${wish.id}`, shown);
  return true;
}

/** Of a base only the layers above it are read. */
export function ship(world: SharingWorld, volume: Volume, b: number): boolean {
  const { id, chain } = volume;
  const waiting = pick(pendingEpisodes(volume), b);
  const shown = waiting && world.kept.get(`${id}/${waiting.id}`);
  if (waiting === undefined || shown === undefined) return false;
  const base = baseOf(volume, waiting);
  const below = layersBelow(volume, world.lookup)?.map(({ layer }) => layer) ?? [];
  const own = chain.slice(
    placeOf(volume, base?.layer ?? null) + 1,
    placeOf(volume, waiting.layer) + 1,
  );
  const read = world.faults.has('ships-one-layer') ? own.slice(-1) : own;
  const known = base?.backup === undefined ? undefined : world.backups.get(base.backup);
  const layers = known === undefined ? [...below, ...read] : read;
  const held = overlay([known ?? nothing(), ...layers.map((l) => world.content.get(l.id) ?? [])]);
  if (held.join() !== shown.blocks.join()) {
    throw new Error(`the backup of ${id}/${waiting.id} holds ${held.join()}, not ${shown.blocks}`);
  }
  const backup = world.newId('b');
  world.backups.set(backup, held);
  if (world.change(id, (v) => recordShipped(v, waiting.id, backup)) === null) return false;
  world.count(base === null ? 'shipped' : 'shipped on a base');
  return true;
}

/** Somebody gives up a backup that is not written. */
export function giveUp(world: SharingWorld, volume: Volume, b: number): boolean {
  const waiting = pick(pendingEpisodes(volume), b);
  return (
    waiting !== undefined && world.change(volume.id, (v) => dropEpisode(v, waiting.id)) !== null
  );
}

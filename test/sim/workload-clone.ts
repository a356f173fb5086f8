import type { Service } from '../../src/node/service.ts';
import { isNameless } from '../../src/volume/delete.ts';
import { snapshotsOf } from '../../src/volume/marks.ts';
import { blockBytes, blockCount } from './disk.ts';
import type { Outcome } from './node.ts';
import { simPolicy, type World } from './world.ts';

/** Volumes and images at a time, those that are only there for clones not counted. */
const mostVolumes = 5;

export function isCrowded(world: World): boolean {
  return world.volumes().filter((v) => !isNameless(v)).length >= mostVolumes;
}

export type Call = <T>(
  what: string,
  call: (service: Service, signal: AbortSignal) => Promise<T>,
) => Promise<Outcome<T>>;

/** Of what is now, or of a snapshot. Whoever gets it lives with it as with any volume. */
export async function makeClone(world: World, id: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const { random } = core;
  const record = world.volume(id);
  if (record === undefined || isCrowded(world)) return;
  const all = snapshotsOf(record);
  const snapshot = all.length > 0 && random.chance(0.5) ? random.pick(all) : null;
  const name = `c${random.hex(4)}`;
  const larger = Math.min(record.sizeBytes + blockBytes, blockCount * blockBytes);
  const request = {
    name,
    ...(random.chance(0.2) ? { sizeBytes: larger } : {}),
    ...(random.chance(0.5) ? { policy: simPolicy(core) } : {}),
  };
  const asked = checker.pointAsked(id);
  const promised = snapshot && checker.known(id).snapshots.get(snapshot.id);
  const source = { volume: id, snapshot: snapshot?.name ?? null };
  const made = await call('clone', (service, signal) =>
    service.snapshots.clone(source, request, signal),
  );
  const clone = made.ok ? made.value.id : world.named(name)?.id;
  if (clone === undefined) return;
  world.onClone(name, clone);
  if (!made.ok) return;
  if (record.importing !== undefined && made.value.parent === undefined) {
    checker.fail(`${name} is a clone of what was not imported yet`);
  }
  const { below } = checker.known(clone);
  const shown = Array.from({ length: blockCount }, (_, block) => below[block] ?? 0);
  if (promised == null) checker.pointGiven(asked, shown);
  else if (promised.join() !== shown.join()) {
    checker.fail(`clone ${name} shows ${shown.join()}, and its snapshot ${promised.join()}`);
  }
}

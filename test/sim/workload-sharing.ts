import { isNameless } from '../../src/volume/delete.ts';
import { snapshotsOf } from '../../src/volume/marks.ts';
import type { Volume } from '../../src/volume/types.ts';
import { actOnBackups } from './workload-backups.ts';
import { type Call, makeClone } from './workload-clone.ts';
import { actOnImages } from './workload-images.ts';
import { lookAtSnapshot } from './workload-views.ts';
import type { World } from './world.ts';

/** A volume that has a name, and is not an image. */
function isUsable(volume: Volume): boolean {
  return volume.role === undefined && volume.importing === undefined && !isNameless(volume);
}

/** Something with a volume's points in time: a snapshot, a clone, a way back. */
export async function actOnPoints(world: World, id: string, call: Call): Promise<void> {
  const { random } = world.core;
  const record = world.volume(id);
  if (record === undefined) return;
  if (random.chance(0.15)) return actOnBackups(world, id, call);
  if (random.chance(0.08)) return lookAtSnapshot(world, id, call);
  if (random.chance(0.06)) {
    await call('compact', ({ space }, signal) => space.compact(id, signal));
    return;
  }
  const dice = random.int(0, 99);
  if (dice < 25) return takeSnapshot(world, id, call);
  if (dice < 37) return takeGroup(world, id, call);
  if (dice < 57) return makeClone(world, id, call);
  if (dice < 67) return actOnImages(world, call);
  if (dice < 80) return removeSnapshot(world, id, call);
  if (dice < 84) return protect(world, id, call);
  if (dice < 90 || record.parent === undefined) return revert(world, id, call);
  if (dice < 92) await call('cancel flatten', ({ changes }) => changes.cancelFlatten(id));
  else await call('flatten', (service) => service.changes.flatten(id));
}

export async function takeSnapshot(world: World, id: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const name = `s${core.random.hex(4)}`;
  const asked = checker.pointAsked(id);
  const made = await call('snapshot', (service, signal) =>
    service.snapshots.create(id, { name }, signal),
  );
  if (!made.ok) return;
  const shown = checker.known(id).snapshots.get(made.value.snapshot.id);
  if (shown === undefined) return checker.fail(`snapshot ${name} was promised and is not there`);
  checker.pointGiven(asked, shown);
}

/** Of several volumes at one instant, which the checker holds against what it knows of them. */
export async function takeGroup(world: World, id: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const others = world.volumes().filter((v) => v.id !== id && isUsable(v));
  const ids = [id, ...others.map((v) => v.id).filter(() => core.random.chance(0.7))];
  const name = `g${core.random.hex(4)}`;
  const asked = ids.map((volume) => checker.pointAsked(volume));
  const made = await call('group snapshot', ({ snapshots }) =>
    snapshots.createGroup(ids, { name }),
  );
  if (!made.ok) return;
  for (const [i, { id: snapshot }] of made.value.snapshots.entries()) {
    const shown = checker.known(ids[i] ?? '').snapshots.get(snapshot);
    const point = asked[i];
    if (shown === undefined || point === undefined) {
      return checker.fail(`snapshot ${name} of a group was promised and is not there`);
    }
    checker.pointGiven(point, shown);
  }
  checker.groups.given(made.value.group);
  checker.counts.groups += 1;
}

async function protect(world: World, id: string, call: Call): Promise<void> {
  const record = world.volume(id);
  const all = record === undefined ? [] : snapshotsOf(record);
  if (all.length === 0) return;
  const { id: snapshot, protected: isProtected } = world.core.random.pick(all);
  const what = isProtected ? 'unprotect' : 'protect';
  await call(what, ({ snapshots }) => snapshots.protect(id, snapshot, isProtected !== true));
}

export async function removeSnapshot(world: World, id: string, call: Call): Promise<void> {
  const record = world.volume(id);
  const all = record === undefined ? [] : snapshotsOf(record);
  if (record === undefined || all.length === 0) return;
  const { name, id: snapshot } = world.core.random.pick(all);
  const removed = await call('delete snapshot', (s) => s.snapshots.remove(id, name));
  const now = world.volume(id);
  if (!removed.ok || now === undefined) return;
  if (snapshotsOf(now).some((s) => s.id === snapshot)) {
    world.checker.fail(`snapshot ${name} of ${record.name} was deleted, and is there`);
  }
}

/** Only what nobody uses is reverted; else it has to be refused. */
export async function revert(world: World, id: string, call: Call): Promise<void> {
  const record = world.volume(id);
  const newest = record === undefined ? undefined : snapshotsOf(record).at(-1);
  if (record === undefined || newest === undefined) return;
  const any = world.core.random.pick(snapshotsOf(record));
  const { name } = world.core.random.chance(0.7) ? newest : any;
  world.reverting.add(id);
  const reverted = await call('revert', (s, signal) => s.snapshots.revert(id, name, signal));
  const refused = !reverted.ok && isRefusal(reverted.error);
  if (reverted.ok || refused) world.reverting.delete(id);
}

/** Nothing was done, and nothing of it will be. */
function isRefusal(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? '';
  return ['in-use', 'not-found', 'not-allowed', 'node-down'].includes(code);
}

import type { Service } from '../../src/node/service.ts';
import { snapshotsOf } from '../../src/volume/marks.ts';
import { blockBytes, blockCount } from './disk.ts';
import type { Outcome } from './node.ts';
import { simPolicy, type World } from './world.ts';

/** Volumes at a time, those that are only there for clones not counted. */
const mostVolumes = 5;

export type Call = <T>(
  what: string,
  call: (service: Service, signal: AbortSignal) => Promise<T>,
) => Promise<Outcome<T>>;

/** Something with a volume's points in time: a snapshot, a clone, a way back. */
export async function actOnPoints(world: World, id: string, call: Call): Promise<void> {
  const { random } = world.core;
  const record = world.volume(id);
  if (record === undefined) return;
  const dice = random.int(0, 99);
  if (dice < 35) return takeSnapshot(world, id, call);
  if (dice < 70) return makeClone(world, id, call);
  if (dice < 85) return removeSnapshot(world, id, call);
  if (dice < 90 || record.parent === undefined) return revert(world, id, call);
  await call('flatten', (service) => service.changes.flatten(record.name));
}

async function takeSnapshot(world: World, id: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const name = `s${core.random.hex(4)}`;
  const asked = checker.pointAsked(id);
  const volume = world.volume(id)?.name ?? '';
  const made = await call('snapshot', (service, signal) =>
    service.snapshots.create(volume, { name }, signal),
  );
  if (!made.ok) return;
  const shown = checker.known(id).snapshots.get(made.value.snapshot.id);
  if (shown === undefined) return checker.fail(`snapshot ${name} was promised and is not there`);
  checker.pointGiven(asked, shown);
}

async function removeSnapshot(world: World, id: string, call: Call): Promise<void> {
  const record = world.volume(id);
  const all = record === undefined ? [] : snapshotsOf(record);
  if (record === undefined || all.length === 0) return;
  const { name, id: snapshot } = world.core.random.pick(all);
  const removed = await call('delete snapshot', (s) => s.snapshots.remove(record.name, name));
  const now = world.volume(id);
  if (!removed.ok || now === undefined) return;
  if (snapshotsOf(now).some((s) => s.id === snapshot)) {
    world.checker.fail(`snapshot ${name} of ${record.name} was deleted, and is there`);
  }
}

/** Of what is now, or of a snapshot. Whoever gets it lives with it as with any volume. */
async function makeClone(world: World, id: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const { random } = core;
  const record = world.volume(id);
  const named = world.volumes().filter((v) => world.named(v.name) === v);
  if (record === undefined || named.length >= mostVolumes) return;
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
  const source = { volume: record.name, snapshot: snapshot?.name ?? null };
  const made = await call('clone', (service, signal) =>
    service.snapshots.clone(source, request, signal),
  );
  const clone = made.ok ? made.value.id : world.named(name)?.id;
  if (clone === undefined) return;
  world.onClone(name, clone);
  if (!made.ok) return;
  const { below } = checker.known(clone);
  const shown = Array.from({ length: blockCount }, (_, block) => below[block] ?? 0);
  if (promised == null) checker.pointGiven(asked, shown);
  else if (promised.join() !== shown.join()) {
    checker.fail(`clone ${name} shows ${shown.join()}, and its snapshot ${promised.join()}`);
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
  const reverted = await call('revert', (s) => s.snapshots.revert(record.name, name));
  const refused = !reverted.ok && isRefusal(reverted.error);
  if (reverted.ok || refused) world.reverting.delete(id);
}

/** Nothing was done, and nothing of it will be. */
function isRefusal(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? '';
  return ['in-use', 'not-found', 'not-allowed'].includes(code);
}

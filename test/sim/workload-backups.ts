import { HyperscaleError } from '../../src/errors.ts';
import type { Service } from '../../src/node/service.ts';
import { pendingEpisodes } from '../../src/volume/episodes.ts';
import { snapshotsOf } from '../../src/volume/marks.ts';
import { type Call, isCrowded } from './workload-clone.ts';
import { simPolicy, type World } from './world.ts';

/** A backup is asked for, given up, or made by a plan from now on. */
export async function actOnBackups(world: World, id: string, call: Call): Promise<void> {
  const { random } = world.core;
  const record = world.volume(id);
  const target = world.targets.size === 0 ? null : random.pick([...world.targets.keys()]);
  if (record === undefined || target === null) return;
  if (random.chance(0.25)) return restore(world, target, call);
  const dice = random.int(0, 99);
  if (dice < 60) return backUp(world, id, target, call);
  if (dice < 75) {
    const [waiting] = pendingEpisodes(record);
    if (waiting === undefined) return;
    await call('cancel backup', (service) => backupsOf(service).cancel(id, waiting.id));
    return;
  }
  const plan = { target, everyMinutes: 1, keep: { last: random.int(1, 2) } };
  const episodes = dice < 92 ? plan : null;
  await call('plan backups', ({ changes }) => changes.change(id, { episodes }));
}

/** Of what is now, or of a snapshot. */
async function backUp(world: World, id: string, target: string, call: Call): Promise<void> {
  const { checker, core } = world;
  const record = world.volume(id);
  const all = record === undefined ? [] : snapshotsOf(record);
  const snapshot = all.length > 0 && core.random.chance(0.3) ? core.random.pick(all).id : null;
  const name = `b${core.random.hex(4)}`;
  const asked = checker.pointAsked(id);
  const begun = await call('back up', (service, signal) =>
    backupsOf(service).begin(id, { target, name, snapshot }, signal),
  );
  if (!begun.ok) return;
  const known = checker.known(id);
  const shown = known.snapshots.get(begun.value.episode.id);
  if (shown === undefined) return checker.fail(`backup ${name} was promised and is not there`);
  if (snapshot === null) checker.pointGiven(asked, shown);
  else if (known.snapshots.get(snapshot)?.join() !== shown.join()) {
    checker.fail(`backup ${name} shows ${shown.join()}, and not its snapshot`);
  }
}

/** A volume is made of any backup; whoever made it lives with it as with any other. */
async function restore(world: World, target: string, call: Call): Promise<void> {
  const { core } = world;
  const all = world.targets.get(target)?.backups ?? [];
  if (all.length === 0 || isCrowded(world)) return;
  const name = `r${core.random.hex(4)}`;
  const wish = { backup: core.random.pick(all).entry.id };
  const request = { name, policy: simPolicy(core), target, wish, stream: core.random.chance(0.6) };
  const made = await call('restore', ({ restores }, signal) =>
    restores === null
      ? Promise.reject(new HyperscaleError('unavailable', 'the daemon has only begun'))
      : restores.restore(request, signal),
  );
  const id = made.ok ? made.value.id : world.named(name)?.id;
  if (id !== undefined) world.onClone(name, id);
}

function backupsOf({ backups }: Service): NonNullable<Service['backups']> {
  if (backups !== null) return backups;
  throw new HyperscaleError('unavailable', 'the daemon has only begun');
}

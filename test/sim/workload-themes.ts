import { snapshotsOf } from '../../src/volume/marks.ts';
import { writerOf } from '../../src/volume/queries.ts';
import type { Node } from './node.ts';
import { type Call, makeClone } from './workload-clone.ts';
import { actOnImages, importFile } from './workload-images.ts';
import { removeSnapshot, takeGroup, takeSnapshot } from './workload-sharing.ts';
import { lookAtSnapshot } from './workload-views.ts';
import type { World } from './world.ts';

/** A user, as far as a theme needs one. */
export type Themed = {
  world: World;
  /** Of the user's volume. */
  id: string;
  call: Call;
  /** Has nobody use the volume any more. */
  free(): Promise<void>;
  /** Attaches the volume to one more host. */
  attachMore(host: string): Promise<void>;
  /** Takes an attachment away without asking its host. */
  revoke(host: string): Promise<void>;
};

/** What the history is about, once. */
export async function actOnTheme(user: Themed): Promise<void> {
  const { world, id, call } = user;
  switch (world.theme) {
    case 'clones':
      return cloneAndLeave(user);
    case 'groups':
      return takeGroup(world, id, call);
    case 'images':
      return importAndClone(user);
    case 'late news':
      return askTheLate(user);
    case 'views':
      return lookMeanwhile(user);
    case null:
      return;
  }
}

/** Clones are made, and flattened while what they go on from is deleted. */
async function cloneAndLeave({ world, id, call, free }: Themed): Promise<void> {
  const { random } = world.core;
  const clones = world.volumes().filter((v) => v.parent !== undefined && v.view === undefined);
  const dice = random.int(0, 99);
  if (clones.length === 0 || dice < 30) return makeClone(world, id, call);
  const { id: clone, parent } = random.pick(clones);
  if (dice < 75) await call('flatten', ({ changes }) => changes.flatten(clone));
  if (dice < 45 || parent?.volume !== id) return;
  await free();
  await remove(id, call);
}

/** Whoever sees what is being imported wants to clone it at once. */
async function importAndClone({ world, call }: Themed): Promise<void> {
  const { random, scheduler } = world.core;
  if (random.chance(0.3)) return actOnImages(world, call);
  const cloneEarly = async () => {
    await scheduler.sleep(random.int(0, 1_500));
    for (let look = 0; look < 50; look += 1) {
      await scheduler.sleep(random.int(1, 40));
      const early = world.volumes().find((v) => v.importing !== undefined);
      if (early !== undefined) return makeClone(world, early.id, call);
    }
  };
  await Promise.all([importFile(world, call), random.chance(0.5) ? cloneEarly() : null]);
}

/** Nodes that hear of changes late are asked about what was changed just now. */
async function askTheLate(user: Themed): Promise<void> {
  const { world, id, call, attachMore, revoke } = user;
  const { random } = world.core;
  if (random.chance(0.2)) return comeBack(user);
  if (random.chance(0.5)) {
    await takeSnapshot(world, id, call);
    return removeSnapshot(world, id, call);
  }
  const { name } = random.pick(world.nodes).machine;
  await attachMore(name);
  if (random.chance(0.7)) await revoke(name);
}

/** Who writes is rebooted and goes on, before a late node attaches that knows of the earlier boot. */
async function comeBack({ world, id, attachMore }: Themed): Promise<void> {
  const { random, scheduler } = world.core;
  const record = world.volume(id);
  const writer = record === undefined ? null : writerOf(record);
  const node = world.nodes.find((n) => n.machine.name === writer);
  const others = world.late.filter((n) => n !== node);
  if (node === undefined || others.length === 0) return;
  world.count('reboot');
  world.powerCut(node);
  await scheduler.sleep(random.int(50, 300));
  node.boot();
  for (let look = 0; look < 50 && node.service === null; look += 1) await scheduler.sleep(50);
  await attachMore(node.machine.name);
  await attachMore(random.pick(others).machine.name);
}

/** While a snapshot is looked at, its volume or itself is deleted, or who looks dies. */
async function lookMeanwhile({ world, id, call, free }: Themed): Promise<void> {
  const { random, scheduler } = world.core;
  const record = world.volume(id);
  if (record === undefined) return;
  if (snapshotsOf(record).length === 0) await takeSnapshot(world, id, call);
  const dice = random.int(0, 99);
  if (dice < 40) await free();
  const disturb = async () => {
    await scheduler.sleep(random.int(100, 3_000));
    if (dice < 40) return remove(id, call);
    if (dice < 50) return removeSnapshot(world, id, call);
    if (dice < 80) cutPowerOfAView(world, id);
  };
  await Promise.all([lookAtSnapshot(world, id, call), disturb()]);
}

function cutPowerOfAView(world: World, id: string): void {
  const { random, scheduler } = world.core;
  const view = world.volumes().find((v) => v.view?.of === id);
  const host = view?.attachments[0]?.host;
  const node: Node | undefined = world.nodes.find((n) => n.machine.name === host);
  if (node?.machine.powered !== true) return;
  world.powerCut(node);
  scheduler.after(random.int(100, 3_000), () => node.boot());
}

async function remove(id: string, call: Call): Promise<void> {
  await call('delete', (service) => service.deleteVolume(id, { snapshots: true }));
}

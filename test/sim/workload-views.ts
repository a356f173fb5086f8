import { snapshotsOf } from '../../src/volume/marks.ts';
import { Consumer } from './consumer.ts';
import { type Call, isCrowded } from './workload-clone.ts';
import type { World } from './world.ts';

/** A snapshot is looked at on some host for a while, read-only. */
export async function lookAtSnapshot(world: World, id: string, call: Call): Promise<void> {
  const { core, checker, processes } = world;
  const { random, scheduler } = core;
  const record = world.volume(id);
  const all = record === undefined ? [] : snapshotsOf(record);
  if (all.length === 0 || isCrowded(world)) return;
  const snapshot = random.pick(all).id;
  const { machine } = random.pick(world.nodes);
  const of = { volume: id, snapshot };
  const attached = await call('attach snapshot', ({ views }, signal) =>
    views.attach(of, machine.name, signal),
  );
  const view = world.volumes().find(({ view: shown, attachments }) => {
    return shown?.snapshot?.id === snapshot && attachments[0]?.host === machine.name;
  });
  if (attached.ok && view !== undefined) {
    const shown = checker.known(id).snapshots.get(snapshot) ?? [];
    const { below } = checker.known(view.id);
    if (shown.some((value, block) => value !== (below[block] ?? 0))) {
      checker.fail(`a view shows ${below.join()}, and its snapshot ${shown.join()}`);
    }
    const isThere = machine.powered && machine.boot === attached.value.boot;
    const guest = new Consumer(core, processes, checker, machine, view.id, false);
    if (isThere) guest.start(attached.value);
    await scheduler.sleep(random.int(300, 5_000));
    guest.vanish();
    // Who looked died with the machine, and detaches nothing.
    const died = !machine.powered || machine.boot !== attached.value.boot;
    if (died && random.chance(0.7)) return;
  }
  await call('detach snapshot', ({ views }, signal) => views.detach(of, machine.name, signal));
}

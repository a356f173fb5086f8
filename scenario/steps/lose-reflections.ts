import { during } from '../display.ts';
import { momentOf } from '../events.ts';
import type { Guest } from '../guest/guest.ts';
import { seconds } from '../report-text.ts';
import { type Scene, step, volumeBecomes } from '../scene.ts';
import { noteStall } from '../stall.ts';
import { unsettled, type VolumeView, writesTo } from '../volume-view.ts';
import { progressOf } from './write.ts';

const killedTargetSeconds = 1;
const frozenTargetSeconds = 4;
/** Records to see after a fault before it counts as overcome. */
const recordsAfter = 30;
const timeoutMs = 40_000;

/** SIGKILLs all of n2, a reflection, under the writing guest; n4 takes its place. */
export async function killReflection(scene: Scene, guest: Guest): Promise<void> {
  const { cluster } = scene;
  await step(scene, 'Start n4, the spare', ['n4'], () => cluster.node('n4').start());
  const title = 'SIGKILL everything on n2, which holds a copy';
  await step(scene, title, ['n1', 'n2', 'n4'], async (line) => {
    const began = performance.now();
    await cluster.node('n2').powerCut();
    const members = ['n1', 'n3', 'n4'];
    const also = () => progressOf(guest);
    const replaced = (volume: VolumeView) => writesTo(volume, members);
    await during(line, also, guest.waitForNewRecords(recordsAfter, timeoutMs));
    await volumeBecomes(scene, line, 'n1', replaced, timeoutMs, also);
    const took = (performance.now() - began) / 1000;
    const stall = noteStall(scene, guest, 'n2 killed', began, killedTargetSeconds);
    scene.report.check('n2 killed: a spare takes its place', true, `n4, within ${seconds(took)}`);
    line.outcome(`the guest stalled ${seconds(stall.seconds)}; n4 takes the place of n2`);
  });
}

/**
 * Waits until every copy on a live node is clean again.
 *
 * A fault leaves the copies of the layer that was being written possibly different in their last
 * blocks. Until they are compared, only one of them counts: losing that one too would rightly make
 * the volume unavailable, rather than serve what may be stale.
 */
export async function settle(scene: Scene, guest: Guest): Promise<void> {
  const title = 'Wait until all live copies are compared';
  await step(scene, title, ['n1', 'n3', 'n4'], async (line) => {
    let left = '';
    const settled = (volume: VolumeView): boolean => {
      left = unsettled(volume, ['n2']).join('; ');
      return left === '';
    };
    const why = 'a second fault now could rightly make the volume unavailable';
    const also = () => `${progressOf(guest)}${left === '' ? '' : `${left}: ${why}. `}`;
    const volume = await volumeBecomes(scene, line, 'n1', settled, timeoutMs, also);
    const layers = volume.report.layers.filter((layer) => layer.state === 'sealed').length;
    line.outcome(`${layers} sealed layers are equal; the next fault may come`);
  });
}

/** Stops all processes of n4 without ending them: nobody is told, its answers just cease. */
export async function freezeReflection(scene: Scene, guest: Guest): Promise<void> {
  const n4 = scene.cluster.node('n4');
  const also = () => progressOf(guest);
  await step(scene, 'Freeze everything on n4 (SIGSTOP)', ['n1', 'n4'], async (line) => {
    const began = performance.now();
    n4.freeze();
    try {
      const evicted = (volume: VolumeView) => writesTo(volume, ['n1', 'n3']);
      await volumeBecomes(scene, line, 'n1', evicted, timeoutMs, also);
      const took = evictedAfter(scene, began);
      const detail = `${seconds(took)} of at most ${frozenTargetSeconds} s`;
      scene.report.check('n4 frozen: it is evicted', took <= frozenTargetSeconds, detail);
      await during(line, also, guest.waitForNewRecords(recordsAfter, timeoutMs));
      const stall = noteStall(scene, guest, 'n4 frozen', began, frozenTargetSeconds);
      line.outcome(
        `the guest stalled ${seconds(stall.seconds)}; n4 was evicted after ${seconds(took)}`,
      );
    } finally {
      await n4.thaw();
    }
  });
  await step(scene, 'Thaw n4', ['n1', 'n4'], async (line) => {
    const members = ['n1', 'n3', 'n4'];
    const back = (volume: VolumeView) => writesTo(volume, members);
    await volumeBecomes(scene, line, 'n1', back, timeoutMs, also);
    scene.report.check('n4 thawed: it returns', true, `written to ${members.join(', ')}`);
    line.outcome(`it returned: written to ${members.join(', ')}`);
  });
}

/** Seconds from `began` to the first epoch without n4; by its event, as answers may take a while. */
function evictedAfter(scene: Scene, began: number): number {
  const opened = scene.events.since(began).find((event) => {
    const members = event.values?.members;
    return event.type === 'epoch.opened' && Array.isArray(members) && !members.includes('n4');
  });
  return ((opened === undefined ? performance.now() : momentOf(opened)) - began) / 1000;
}

import { during } from '../display.ts';
import type { Guest } from '../guest/guest.ts';
import { seconds } from '../report-text.ts';
import { type Scene, step } from '../scene.ts';
import { noteStall } from '../stall.ts';
import { progressOf } from './write.ts';

const recordsAfter = 30;

/** SIGKILLs the process that serves the volume to the guest, which lives on. */
export async function killHead(scene: Scene, guest: Guest): Promise<void> {
  const n1 = scene.cluster.node('n1');
  const title = "SIGKILL the volume's head under the living guest";
  await step(scene, title, ['n1'], async (line) => {
    const before = n1.pids('head');
    const began = performance.now();
    n1.kill('head');
    await during(line, () => progressOf(guest), guest.waitForNewRecords(recordsAfter, 40_000));
    const stall = noteStall(scene, guest, 'head killed', began, null);
    const after = n1.pids('head');
    const renewed = after.length > 0 && after.every((pid) => !before.includes(pid));
    const pids = `process ${before.join(', ')} is now ${after.join(', ')}`;
    scene.report.check('head killed: another one serves the guest', renewed, pids);
    line.outcome(`the guest stalled ${seconds(stall.seconds)}`);
  });
}

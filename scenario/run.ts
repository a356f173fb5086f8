/** `./demo`: three nodes, one volume, and a virtual machine that loses nothing. */
import { writeFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { LabCluster } from '../lab/cluster.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../src/errors.ts';
import { createDisplay, type Display } from './display.ts';
import { EventRecorder } from './events.ts';
import { describeFailure, eventLine } from './failure.ts';
import { keptText } from './kept.ts';
import { leftovers } from './leftovers.ts';
import { type DemoOptions, parseOptions, usage } from './options.ts';
import { Report } from './report.ts';
import { reportText } from './report-text.ts';
import type { Scene } from './scene.ts';
import { compareCopies } from './steps/compare.ts';
import { killHead } from './steps/kill-head.ts';
import { loseHost } from './steps/lose-host.ts';
import { freezeReflection, killReflection, settle } from './steps/lose-reflections.ts';
import { moveGuest } from './steps/move.ts';
import { detach, recover } from './steps/recover.ts';
import { restoreBackup } from './steps/restore.ts';
import { measureSpeed } from './steps/speed.ts';
import { prepare, startNodes } from './steps/start-nodes.ts';
import { startWriting } from './steps/write.ts';

async function play(scene: Scene): Promise<void> {
  const { display } = scene;
  await startNodes(scene);
  display.heading('2. A volume, and a virtual machine that writes to it');
  const writing = await startWriting(scene);
  const { guest } = writing;
  display.heading('3. Faults while it writes');
  await killReflection(scene, guest);
  await settle(scene, guest);
  await freezeReflection(scene, guest);
  await settle(scene, guest);
  await killHead(scene, guest);
  await settle(scene, guest);
  display.heading("4. The virtual machine's own node dies");
  await loseHost(scene, writing);
  display.heading('5. The nodes come back');
  await recover(scene);
  display.heading('6. The virtual machine moves, its volume follows, and it is cloned');
  await moveGuest(scene);
  await detach(scene);
  await compareCopies(scene);
  await measureSpeed(scene);
  display.heading('7. A backup, and a volume from it');
  await restoreBackup(scene);
}

/** Takes the lab down and checks that nothing is left of it. */
async function takeDown(display: Display, report: Report, cluster: LabCluster): Promise<void> {
  await display.step('Take everything down', async (line) => {
    await cluster.destroy();
    const left = leftovers(cluster);
    const text = left.length === 0 ? 'no process, namespace, mount or file' : left.join('; ');
    report.check('nothing is left behind', left.length === 0, text);
    line.outcome(left.length === 0 ? 'nothing is left' : text);
  });
}

async function run(options: DemoOptions): Promise<boolean> {
  const report = new Report();
  const display = createDisplay(options);
  const finish = (): boolean => {
    const { document } = report;
    console.log(`\n${reportText(document)}`);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
    }
    return document.ok;
  };
  display.heading('1. Three nodes');
  const { cluster, image } = await prepare(display);
  const events = new EventRecorder(cluster.nodes, (event) => {
    if (options.verbose) console.log(`          ${eventLine(event)}`);
  });
  const scene: Scene = { cluster, events, image, display, report, concerned: [] };
  try {
    await play(scene);
  } catch (error) {
    report.fail(errorText(error));
    console.log(`\n${describeFailure(scene)}\n`);
  }
  await events.stop();
  if (!options.keep) {
    display.heading('8. The end');
    await takeDown(display, report, cluster);
    return finish();
  }
  await cluster.keep();
  const ok = finish();
  console.log(`\n${keptText(cluster)}`);
  return ok;
}

/** The lab, and with it the guest and fio, ends itself when this process ends. */
function endOnSignals(): void {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      // The live display holds back what is written meanwhile, and has hidden the cursor.
      const showCursor = process.stdout.isTTY ? '\u001b[?25h' : '';
      writeSync(2, `${showCursor}\ndemo: ${name}: ending and removing everything it started\n`);
      process.exit(128 + constants.signals[name]);
    });
  }
}

/** Now, rather than after minutes, it must turn out that the report cannot be written. */
function checkWritable(path: string): void {
  try {
    writeFileSync(path, '');
  } catch (error) {
    throw new HyperscaleError('bad-input', `--json: ${errorText(error)}`);
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    throw new HyperscaleError('not-allowed', 'the demo makes network namespaces: run it as root');
  }
  if (options.json !== undefined) {
    checkWritable(options.json);
  }
  endOnSignals();
  return (await run(options)) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`demo: ${errorText(error)}`);
  if (isHyperscaleError(error) && error.hint !== undefined) {
    console.error(`hint: ${error.hint}`);
  }
  process.exitCode = isHyperscaleError(error, 'bad-input') ? 2 : 1;
}

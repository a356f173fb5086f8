/** What is kept of a schedule that went wrong. */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Outcome } from './run-schedule.ts';
import { type Fault, printSchedule } from './schedule.ts';
import type { Stage } from './stage.ts';

/** Copies logs, run directories and the history of all blocks; returns the new directory. */
export function keepEvidence(
  stage: Stage,
  seed: number,
  schedule: readonly Fault[],
  outcome: Outcome,
): string {
  const directory = mkdtempSync(join(tmpdir(), `hs-faults-${seed}-`));
  const { violations, struck, missed, scene } = outcome;
  const told = { seed, schedule: printSchedule(schedule), violations, struck, missed };
  writeFileSync(join(directory, 'outcome.json'), JSON.stringify(told, null, 2));
  const history = Object.fromEntries(scene.history.blocks);
  writeFileSync(join(directory, 'history.json'), JSON.stringify(history));
  for (const node of stage.lab.nodes) {
    const target = join(directory, node.name);
    mkdirSync(target);
    // Sockets cannot be copied.
    const filter = (path: string): boolean => !/\.(sock|keeper)$/.test(path);
    cpSync(join(node.directory, 'log'), join(target, 'log'), { recursive: true, filter });
  }
  cpSync(stage.lab.etcd.logFile, join(directory, 'etcd.log'));
  return directory;
}

/**
 * `node lab/sweep.ts`: destroys the labs of this machine whose owner died without doing so (it
 * was SIGKILLed), and tells of those that were kept on purpose.
 */
import { readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHyperscaleError } from '../src/errors.ts';
import { destroyLab, type LabRecord, labIndex, ownerLives, readRecord } from './home.ts';

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Directories of labs: those indexed since boot, and those that a reboot left behind. */
function labDirectories(): string[] {
  const found = new Set<string>();
  for (const id of list(labIndex)) {
    const link = join(labIndex, id);
    try {
      found.add(realpathSync(link));
    } catch {
      // Its directory was removed by hand.
      rmSync(link, { force: true });
    }
  }
  for (const name of list(tmpdir()).filter((entry) => /^hs-[0-9a-f]{6}$/.test(entry))) {
    found.add(realpathSync(join(tmpdir(), name)));
  }
  return [...found];
}

function recordOf(directory: string): LabRecord | undefined {
  try {
    return readRecord(directory);
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) {
      return undefined;
    }
    throw error;
  }
}

/** Destroys all labs without an owner; returns the directories that are gone. */
export function sweep(): string[] {
  const orphans = labDirectories()
    .map(recordOf)
    .filter((record) => record !== undefined)
    .filter((record) => !record.kept && !ownerLives(record));
  for (const record of orphans) {
    destroyLab(record);
  }
  return orphans.map((record) => record.directory);
}

if (import.meta.main) {
  for (const directory of sweep()) {
    console.log(`${directory}: gone`);
  }
  for (const record of labDirectories().map(recordOf)) {
    if (record?.kept === true) {
      console.log(`${record.directory}: kept on purpose; node lab/down.ts ${record.directory}`);
    }
  }
}

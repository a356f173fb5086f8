/**
 * The home of a lab: its random id, its directory, and the record (`lab.json`) by which any
 * process can take the lab down or tell that its owner is gone.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HyperscaleError } from '../src/errors.ts';
import { unmountBelow } from './mounts.ts';
import { killUntilNone, pidsInNamespace, pidsUsingDirectory, startTime } from './processes.ts';

/** Links to the directories of all labs of this machine since it booted, for the sweeper. */
export const labIndex = '/run/hyperscale-labs';

/** The longest directory under which a node's socket paths fit into the 107 bytes of a sun_path. */
const longestDirectory = 40;

export type LabRecord = {
  id: string;
  /** Absolute path of everything the lab keeps on disk. */
  directory: string;
  /** The process that the lab lives and dies with; its start time tells a reused pid. */
  owner: { pid: number; startTime: string };
  /** True once the lab was detached from its owner's life. */
  kept: boolean;
};

/** All network namespaces of a lab begin with this. */
export function namespacePrefix(id: string): string {
  return `hs-${id}-`;
}

/**
 * Makes a new, empty home `hs-<id>` below `baseDirectory` (default: the system's temporary
 * directory). Pools live in it, so it must be on a filesystem with O_DIRECT.
 *
 * @throws HyperscaleError `bad-input` when the path is too long for Unix sockets below it
 */
export function createHome(baseDirectory = tmpdir()): LabRecord {
  const id = randomBytes(3).toString('hex');
  const directory = join(realpathSync(baseDirectory), `hs-${id}`);
  if (directory.length > longestDirectory) {
    throw new HyperscaleError('bad-input', `the lab directory '${directory}' is too long`, {
      hint: `Choose a base directory so that the path has at most ${longestDirectory} characters.`,
    });
  }
  const record: LabRecord = {
    id,
    directory,
    owner: { pid: process.pid, startTime: startTime(process.pid) ?? '' },
    kept: false,
  };
  mkdirSync(directory);
  writeRecord(record);
  mkdirSync(labIndex, { recursive: true });
  symlinkSync(directory, join(labIndex, id));
  return record;
}

export function writeRecord(record: LabRecord): void {
  writeFileSync(join(record.directory, 'lab.json'), `${JSON.stringify(record, null, 2)}\n`);
}

/** Reads the record of the lab in `directory`. Throws `not-found` when there is none. */
export function readRecord(directory: string): LabRecord {
  const path = join(directory, 'lab.json');
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as LabRecord;
    if (/^[0-9a-f]{6}$/.test(record.id)) {
      return { ...record, directory: realpathSync(directory) };
    }
  } catch (error) {
    throw new HyperscaleError('not-found', `no lab in '${directory}'`, { cause: error });
  }
  throw new HyperscaleError('not-found', `'${path}' is not the record of a lab`);
}

/** True while the process that owns the lab is alive. */
export function ownerLives(record: LabRecord): boolean {
  return startTime(record.owner.pid) === record.owner.startTime;
}

/** Names of the namespaces of a lab that exist now. */
export function namespacesOf(id: string): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith(namespacePrefix(id)));
  } catch {
    return [];
  }
}

/** Ends all processes of the lab and removes its namespaces; leaves the files. Idempotent. */
export function destroyNamespaces(id: string): void {
  const namespaces = namespacesOf(id);
  killUntilNone(() => namespaces.flatMap(pidsInNamespace));
  for (const namespace of namespaces) {
    execFileSync('ip', ['netns', 'del', namespace], { stdio: 'ignore' });
  }
}

/**
 * Ends all processes of the lab, removes its namespaces and, unless `keepFiles`, its directory.
 * Blocks; idempotent. Also right for the lab of another process that is gone.
 */
export function destroyLab(record: LabRecord, keepFiles = false): void {
  destroyNamespaces(record.id);
  killUntilNone(() => pidsUsingDirectory(record.directory));
  unmountBelow(record.directory);
  if (!keepFiles) {
    rmSync(record.directory, { recursive: true, force: true });
  }
  rmSync(join(labIndex, record.id), { force: true });
}

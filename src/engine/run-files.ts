import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HyperscaleError } from '../errors.ts';
import type { ProcessIdentity } from './process.ts';

/** The longest path of a Unix socket that Linux takes (`sun_path`, less the zero at its end). */
export const maxSocketPath = 107;

/**
 * What lies in the run directory about one process, so that a restarted daemon finds it without
 * remembering anything: `NAME.json` says what it is, `NAME.qmp` is its monitor, `NAME.events` holds
 * every event that its monitor told.
 */
export class RunFiles {
  readonly directory: string;
  readonly name: string;

  constructor(directory: string, name: string) {
    this.directory = directory;
    this.name = name;
    checkSocketPath(this.qmp);
  }

  get json(): string {
    return join(this.directory, `${this.name}.json`);
  }
  get qmp(): string {
    return join(this.directory, `${this.name}.qmp`);
  }
  get events(): string {
    return join(this.directory, `${this.name}.events`);
  }

  /**
   * Written before the process serves anything, whole or not at all; a reboot may lose it.
   * @param waits it may not serve yet; what is left of it by a daemon that died is ended.
   */
  write<T extends object>(identity: ProcessIdentity, spec: T, waits = false): void {
    const temporary = `${this.json}~`;
    writeFileSync(temporary, JSON.stringify({ ...identity, waits, spec }), { mode: 0o640 });
    renameSync(temporary, this.json);
  }

  remove(): void {
    for (const path of [this.json, this.qmp, this.events]) rmSync(path, { force: true });
  }

  readEvents(): string {
    try {
      return readFileSync(this.events, 'utf8');
    } catch {
      return '';
    }
  }
}

export type RunRecord<T> = {
  files: RunFiles;
  identity: ProcessIdentity;
  waits: boolean;
  spec: T;
};

/** Everything that is recorded in a run directory; what cannot be read is removed. */
export function readRunRecords<T>(directory: string): RunRecord<T>[] {
  const names = readdirSync(directory);
  const records: RunRecord<T>[] = [];
  for (const name of names.filter((n) => n.endsWith('.json'))) {
    const files = new RunFiles(directory, name.slice(0, -'.json'.length));
    try {
      const record = JSON.parse(readFileSync(files.json, 'utf8')) as ProcessIdentity & {
        waits?: boolean;
        spec: T;
      };
      const { pid, startTime, waits = false, spec } = record;
      records.push({ files, identity: { pid, startTime }, waits, spec });
    } catch {
      files.remove();
    }
  }
  const known = new Set(records.map((record) => record.files.name));
  for (const name of names.filter((n) => !known.has(n.replace(/\.[a-z]+$/, '')))) {
    rmSync(join(directory, name), { force: true });
  }
  return records;
}

/** @throws `bad-input` when the path is too long for a Unix socket */
export function checkSocketPath(path: string): void {
  // hold-listener binds it under a name that is up to 9 characters longer.
  const length = Buffer.byteLength(path) + 9;
  if (length > maxSocketPath) {
    throw new HyperscaleError('bad-input', `the socket path ${path} is too long for Linux`, {
      hint: 'Choose a shorter runDirectory, at most 31 characters.',
      values: { path, length, limit: maxSocketPath },
    });
  }
}

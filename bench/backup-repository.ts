/**
 * What a backup repository in a directory does: how long a list of many backups takes, how fast
 * backups are written and restored, and what an incremental one costs. On an idle machine, with
 * `--directory` on the file system that is of interest.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { onProcessEnd } from '../lab/process-end.ts';
import { manifestName } from '../src/backup/entry.ts';
import { createRepository, openDirectoryTarget, type Repository } from '../src/backup/index.ts';
import { newId } from '../src/backup/layout.ts';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { median } from './statistics.ts';

const usage = `node bench/backup-repository.ts [OPTIONS]

  --size-mib N      size of the volume that is backed up (default 512)
  --backups N       backups that are listed (default 10000)
  --rounds N        times that everything is measured (default 3)
  --directory DIR   below it the repositories are made (default: the temporary directory)
  --json FILE       write the figures as JSON too`;

const mib = 1 << 20;
const at = 1_800_000_000_000;
const backupsOfVolume = 200;

type Options = { sizeMib: number; backups: number; rounds: number; directory: string };
type Row = { what: string; unit: string; median: number; values: number[] };
type Figures = Map<string, Row>;

function note(figures: Figures, what: string, unit: string, value: number): void {
  const row = figures.get(what) ?? { what, unit, median: 0, values: [] };
  row.values.push(value);
  row.median = median(row.values);
  figures.set(what, row);
}

async function seconds<T>(work: () => Promise<T>): Promise<[number, T]> {
  const start = performance.now();
  const result = await work();
  return [(performance.now() - start) / 1000, result];
}

/** Names of manifests are all that a list reads. */
async function measureList(figures: Figures, options: Options, directory: string): Promise<void> {
  const repository = await repositoryIn(directory);
  for (let n = 0; n < options.backups; n += 1) {
    const volume = `volume-${Math.floor(n / backupsOfVolume)}`;
    const id = newId(at + n, createHash('sha256').update(`${n}`).digest());
    const entry = { volume, id, at: at + n, sizeBytes: mib, storedBytes: 1, name: 'b' };
    const path = join(directory, manifestName({ ...entry, volumeName: volume }));
    if (n % backupsOfVolume === 0) await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, '');
  }
  const [took, list] = await seconds(() => repository.list());
  if (list.length !== options.backups) throw new HyperscaleError('internal', 'the list is short');
  note(figures, `list ${options.backups} backups`, 'ms', took * 1000);
  const [one] = await seconds(() => repository.list({ volume: 'volume-0' }));
  note(figures, `list ${backupsOfVolume} backups of one volume among them`, 'ms', one * 1000);
}

/** Chunks of which zstd saves nothing, or about two thirds. */
function contentOf(kind: string, sizeBytes: number): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (let offset = 0; offset < sizeBytes; offset += 48 * 1024) {
    const piece = content.subarray(offset, offset + (kind === 'random' ? 48 : 16) * 1024);
    crypto.getRandomValues(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
  }
  return content;
}

async function measureBackup(
  figures: Figures,
  kind: string,
  encrypted: boolean,
  options: Options,
  directory: string,
): Promise<void> {
  const key = encrypted ? Buffer.from('the key of the measurement') : undefined;
  const repository = await repositoryIn(directory, key);
  const content = contentOf(kind, options.sizeMib * mib);
  const form = `${kind}${encrypted ? ', encrypted' : ''}`;
  const source = {
    ...{ volume: 'v', volumeName: 'v', name: 'b', at, sizeBytes: content.length },
    ...{ parent: null, changed: null },
    read: async (offset: number, length: number) => content.subarray(offset, offset + length),
  };
  const [full, { entry, storedBytes }] = await seconds(() => repository.write(source));
  note(figures, `write, ${form}`, 'MiB/s', options.sizeMib / full);
  note(figures, `stored, ${form}`, '% of the volume', (storedBytes / content.length) * 100);
  const [restore] = await seconds(() => restoreAll(repository, entry.id));
  note(figures, `restore, ${form}`, 'MiB/s', options.sizeMib / restore);
  const [verify] = await seconds(() => repository.verify('v', null, { mode: 'full' }));
  note(figures, `verify in full, ${form}`, 'MiB/s', options.sizeMib / verify);
  const changed = [];
  for (let offset = 0; offset < content.length; offset += 100 * mib) {
    crypto.getRandomValues(new Uint8Array(content.buffer, content.byteOffset + offset, 4096));
    changed.push({ offset, length: 4096 });
  }
  const parent = entry.id;
  const next = { ...source, at: at + 1, parent, changed };
  const [incremental, counts] = await seconds(() => repository.write(next));
  note(figures, `1 % changed: time, ${form}`, 'ms', incremental * 1000);
  note(figures, `1 % changed: read, ${form}`, 'MiB', counts.readBytes / mib);
  note(figures, `1 % changed: sent, ${form}`, 'MiB', counts.sentBytes / mib);
}

async function restoreAll(repository: Repository, id: string): Promise<void> {
  const reader = await repository.open('v', id);
  let bytes = 0;
  for await (const piece of reader.chunks()) bytes += piece.content.length;
  if (bytes === 0) throw new HyperscaleError('internal', 'nothing was restored');
}

async function repositoryIn(directory: string, key?: Buffer): Promise<Repository> {
  await mkdir(directory);
  const target = await openDirectoryTarget(directory);
  return await createRepository(target, key === undefined ? {} : { key });
}

function parse(args: string[]): { options: Options; json: string | undefined } | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      ...{ 'size-mib': text, backups: text, rounds: text, directory: text, json: text },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) return undefined;
  const whole = (name: string, given: string | undefined, otherwise: number): number => {
    const number = given === undefined ? otherwise : Number(given);
    if (Number.isInteger(number) && number > 0) return number;
    throw new HyperscaleError('bad-input', `--${name} takes a whole number, not '${given}'`);
  };
  const options = {
    sizeMib: whole('size-mib', values['size-mib'], 512),
    backups: whole('backups', values.backups, 10_000),
    rounds: whole('rounds', values.rounds, 3),
    directory: values.directory ?? tmpdir(),
  };
  return { options, json: values.json };
}

async function run(options: Options): Promise<Row[]> {
  const figures: Figures = new Map();
  const top = await mkdtemp(join(options.directory, 'bench-backup-'));
  const forget = onProcessEnd(() => rmSync(top, { recursive: true, force: true }));
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      await measureList(figures, options, join(top, 'list'));
      await rm(join(top, 'list'), { recursive: true });
      for (const kind of ['random', 'a third random']) {
        for (const encrypted of [false, true]) {
          await measureBackup(figures, kind, encrypted, options, join(top, 'backup'));
          await rm(join(top, 'backup'), { recursive: true });
        }
      }
    }
  } finally {
    forget();
    await rm(top, { recursive: true });
  }
  return [...figures.values()];
}

try {
  const asked = parse(process.argv.slice(2));
  if (asked === undefined) process.stdout.write(`${usage}\n`);
  else {
    const machine = {
      date: new Date().toISOString(),
      processors: `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}`,
      'load before': loadavg()[0]?.toFixed(2) ?? '',
    };
    const rows = await run(asked.options);
    const table = new Table({
      head: ['', 'median', 'least', 'most', ''],
      colAligns: ['left', 'right', 'right', 'right', 'left'],
      style: { head: [], border: [], compact: true },
    });
    for (const { median: middle, unit, values, what } of rows) {
      const figures = [middle, Math.min(...values), Math.max(...values)];
      table.push([what, ...figures.map((figure) => figure.toFixed(unit === 'MiB' ? 1 : 0)), unit]);
    }
    for (const [name, value] of Object.entries(machine)) console.log(`${name}: ${value}`);
    console.log(table.toString());
    if (asked.json !== undefined) {
      const report = { machine, options: asked.options, rows };
      await writeFile(asked.json, `${JSON.stringify(report, null, 2)}\n`);
    }
  }
} catch (error) {
  console.error(`bench/backup-repository: ${errorText(error)}`);
  process.exitCode = 1;
}

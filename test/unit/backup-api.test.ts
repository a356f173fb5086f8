/** Backups over the API and by `hscli`. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type {
  BackupRequest,
  BackupService,
  BackupTarget,
  EpisodeState,
} from '../../src/api/backup-service.ts';
import type { BackupEntry } from '../../src/backup/entry.ts';
import type { Manifest } from '../../src/backup/records.ts';
import type { VerifyReport } from '../../src/backup/verify.ts';
import { givenPlan } from '../../src/cli/episode-options.ts';
import { run } from '../../src/cli/program.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { chooseBackup } from '../../src/restore/choose.ts';
import type { Episode, Volume } from '../../src/volume/types.ts';
import { FakeService, secret, startApi } from './api-fake-service.ts';

const at = Date.parse('2026-11-23T03:15:00Z');

function entry(number: number, changes: Partial<BackupEntry> = {}): BackupEntry {
  const id = String(number).padStart(32, '0');
  const common = { volume: 'v-1', volumeName: 'db1', name: `b-${number}`, sizeBytes: 2 ** 30 };
  return { id, at: at + number * 1000, storedBytes: 1000, ...common, ...changes };
}

class FakeBackups implements BackupService {
  entries = [1, 2, 3].map((n) => entry(n));
  asked: (BackupRequest & { volume: string })[] = [];
  cancelled: string[] = [];
  waiting: EpisodeState[] = [];
  report: VerifyReport = { backups: 3, objects: 9, bytes: 4096, bad: [], damaged: [] };
  readonly service: FakeService;

  constructor(service: FakeService) {
    this.service = service;
  }

  async targets(): Promise<BackupTarget[]> {
    const repository = { id: 'r', chunkBytes: 2 ** 20, encrypted: true };
    const away = { name: 's3', nodes: ['n2'], repository: null, problem: 'it is away' };
    return [{ name: 'nas', nodes: ['n1', 'n2'], repository, problem: null }, away];
  }

  async createRepository(target: string): Promise<BackupTarget> {
    const found = (await this.targets()).find((t) => t.name === target);
    if (found === undefined) throw new HyperscaleError('not-found', `no target ${target}`);
    return found;
  }

  async list(_target: string, volume: string | null): Promise<BackupEntry[]> {
    return this.entries.filter((e) => volume === null || e.volumeName === volume);
  }

  async show(target: string, backup: string): Promise<Manifest> {
    const found = chooseBackup(this.entries, { backup }, target);
    return { entry: found, parent: null, labels: { policy: 'Silver' }, root: null };
  }

  async remove(target: string, backup: string): Promise<BackupEntry> {
    const found = chooseBackup(this.entries, { backup }, target);
    this.entries = this.entries.filter((e) => e !== found);
    return found;
  }

  async verify(): Promise<VerifyReport> {
    return this.report;
  }

  async sweep() {
    return { deletedObjects: 2, deletedBytes: 2048, keptObjects: 7, droppedPins: 0 };
  }

  async begin(
    idOrName: string,
    request: BackupRequest,
  ): Promise<{ volume: Volume; episode: Episode }> {
    const { value } = this.service.volume(idOrName);
    this.asked.push({ volume: value.name, ...request });
    const id = String(this.asked.length).padStart(32, '0');
    const episode: Episode = {
      ...{ id, layer: null, sizeBytes: value.sizeBytes, at: new Date(at).toISOString() },
      ...{ target: request.target ?? 'nas', name: request.name ?? 'by-time', asked: true },
    };
    const state = { shipper: 'n2', doneBytes: 0, totalBytes: null, problem: null };
    this.waiting.push({ ...episode, ...state });
    return { volume: value, episode };
  }

  /** Written at the first look. */
  async episodes(): Promise<EpisodeState[]> {
    const now = this.waiting;
    this.waiting = now.map((e) => ({ ...e, backup: entry(9).id }));
    return now;
  }

  async cancel(_volume: string, episode: string): Promise<void> {
    this.cancelled.push(episode);
  }
}

let service: FakeService;
let backups: FakeBackups;
let api: Awaited<ReturnType<typeof startApi>>;

beforeEach(async () => {
  service = new FakeService();
  backups = new FakeBackups(service);
  service.backups = backups;
  api = await startApi(service);
  await hscli('volume create db1 --size 1G --policy Silver');
});
afterEach(() => api.stop());

async function hscli(line: string): Promise<{ exit: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const env = { HYPERSCALE_SOCKET: api.socket };
  const { signal } = new AbortController();
  const exit = await run(line.split(' '), {
    stdout,
    stderr,
    stdin: new PassThrough(),
    env,
    signal,
  });
  const text = (stream: PassThrough) => String((stream.read() as Buffer | null) ?? '');
  return { exit, out: text(stdout), err: text(stderr) };
}

test('backups are listed, in parts if wished, shown and deleted', async () => {
  const all = JSON.parse((await hscli('backup list --target nas --json')).out);
  expect(all.backups).toHaveLength(3);
  expect(all.backups[0]).toEqual({
    ...{ id: entry(1).id, target: 'nas', name: 'b-1', at: '2026-11-23T03:15:01.000Z' },
    ...{ volume: 'v-1', volumeName: 'db1', sizeBytes: 2 ** 30, storedBytes: 1000 },
  });
  const part = JSON.parse((await hscli('backup list --target nas --limit 2 --json')).out);
  expect(part.backups).toHaveLength(2);
  const rest = await hscli(`backup list --target nas --after ${part.next}`);
  expect(rest.out).toContain('b-3');
  expect(rest.out).not.toContain('b-2');
  expect((await hscli('backup list --target nas --volume other')).out).toMatch(/no such backup/);
  expect((await hscli(`backup show nas/${entry(2).id}`)).out).toMatch(/policy=Silver/);
  expect(await hscli('backup show nas/00000000')).toMatchObject({ exit: 2 });
  expect(await hscli('backup show nas')).toMatchObject({ exit: 2 });
  expect(await hscli(`backup delete nas/${entry(2).id}`)).toMatchObject({ exit: 2 });
  expect(await hscli(`backup delete nas/${entry(2).id} --yes`)).toMatchObject({ exit: 0 });
  expect(backups.entries.map((e) => e.name)).toEqual(['b-1', 'b-3']);
});

test('a backup is asked for, waited for, and given up', async () => {
  const made = await hscli('backup create db1 --target nas --name now');
  expect(made, made.err).toMatchObject({ exit: 0, out: 'Backup now of db1 is on nas.\n' });
  await hscli('backup create db1@monday --no-wait');
  expect(backups.asked).toEqual([
    { volume: 'db1', target: 'nas', name: 'now', snapshot: null },
    { volume: 'db1', target: null, name: null, snapshot: 'monday' },
  ]);
  const status = await hscli('backup status db1');
  expect(status.out).toMatch(/Plan: none[\s\S]*now .*written[\s\S]*by-time .*waits/);
  backups.waiting = backups.waiting.map(({ backup: _, ...e }) => e);
  expect(await hscli('backup cancel db1')).toMatchObject({ exit: 0 });
  expect(backups.cancelled).toHaveLength(2);
  expect(await hscli('backup create nothing')).toMatchObject({ exit: 3 });
});

test('a verification ends with its own status when a backup is damaged, and names it', async () => {
  expect((await hscli('backup verify nas')).out).toBe('3 of 3 backups are whole.\n');
  const ranges = [{ offset: 4096, length: 4096, reason: 'it is gone' }];
  backups.report.damaged = [{ entry: entry(2), ranges }];
  const found = await hscli('backup verify nas --full');
  expect(found.exit).toBe(9);
  expect(found.out).toMatch(
    /2 of db1, .* has lost:\n {2}4 KiB at 4096: it is gone\n2 of 3 backups are whole/,
  );
  expect((await hscli('backup sweep nas')).out).toMatch(/2 KiB in 2 objects are free/);
});

test('targets are told with what is wrong, and repositories made', async () => {
  const { out } = await hscli('backup targets');
  expect(out).toMatch(/nas .* yes .*n1, n2[\s\S]*s3 .*it is away/);
  expect((await hscli('backup init nas')).out).toBe('Target nas has repository r, encrypted.\n');
  expect(await hscli('backup init nas --chunk-size 1')).toMatchObject({ exit: 2 });
  expect(await hscli('backup init ../etc')).toMatchObject({ exit: 2 });
});

test('a plan is set, changed in part, shown and ended', async () => {
  const plan = () => [...service.records.values()][0]?.episodePlan;
  expect(await hscli('volume set db1 --keep-daily 3')).toMatchObject({ exit: 2 });
  const set = await hscli('volume set db1 --episode 4h --backup-target nas --keep-last 3');
  expect(set.out).toBe('Volume db1 is backed up: every 4 h to nas; kept: 3 last.\n');
  expect(plan()).toEqual({ target: 'nas', everyMinutes: 240, keep: { last: 3 } });
  await hscli('volume set db1 --episode 15m --meta a=b');
  expect(plan()).toEqual({ target: 'nas', everyMinutes: 15, keep: { last: 3 } });
  await hscli('volume set db1 --keep-daily 7 --keep-weekly 4');
  expect(plan()?.keep).toEqual({ daily: 7, weekly: 4 });
  expect((await hscli('backup status db1')).out).toMatch(/every 15 min to nas; kept: 7 daily, 4/);
  expect(await hscli('volume set db1 --episode off')).toMatchObject({ exit: 0 });
  expect(plan()).toBeUndefined();
});

test('a volume is created with its plan, or not at all', async () => {
  const create = 'volume create db2 --size 1G --policy Silver --episode 1d --backup-target nas';
  expect(await hscli(create)).toMatchObject({ exit: 2 });
  expect(await hscli(`${create} --keep-last 0`)).toMatchObject({ exit: 2 });
  expect(service.records.size).toBe(1);
  expect(await hscli(`${create} --keep-weekly 5`)).toMatchObject({ exit: 0 });
  expect((await hscli('volume show db2')).out).toMatch(
    /Backups: +every 1 d to nas; kept: 5 weekly/,
  );
});

test.each([
  [{ episode: '15' }],
  [{ episode: '1y' }],
  [{ episode: 'off', keepLast: '3' }],
  [{ episode: '15m' }],
  [{ keepLast: '-1' }],
])('options that make no plan are refused: %j', (options) => {
  expect(() => givenPlan(options, null)).toThrow(expect.objectContaining({ code: 'bad-input' }));
});

test('a plan that cannot be is refused over the API', async () => {
  for (const episodes of [
    { target: 'nas', everyMinutes: 0, keep: { last: 1 } },
    { target: 'nas', everyMinutes: 15, keep: { last: 0 } },
    { target: 'nas', everyMinutes: 15, keep: { secondly: 1 } },
    { target: '../x', everyMinutes: 15, keep: { last: 1 } },
    { everyMinutes: 15, keep: { last: 1 } },
  ]) {
    const answer = await fetch(`http://127.0.0.1:${api.port}/v1/volumes/db1`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ episodes }),
    });
    expect(answer.status, JSON.stringify(episodes)).toBe(400);
  }
  expect([...service.records.values()][0]).not.toHaveProperty('episodePlan');
});

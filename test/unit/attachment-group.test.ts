/** Who may use attachment sockets: the setting, and the modes that follow from it. */
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkConfig } from '../../src/daemon/config.ts';
import { groupId } from '../../src/daemon/group.ts';
import { openDirectory, openSocket } from '../../src/engine/socket-group.ts';

const setting = 'attachments.group';
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hs-group-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('a group is found by its name or taken by its number', async () => {
  expect(await groupId('root', setting)).toBe(0);
  expect(await groupId(4711, setting)).toBe(4711);
  expect(await groupId('4711', setting)).toBe(4711);
});

test('a group that cannot be is refused by name', async () => {
  for (const group of ['no-such-group', '--help', '$(id)', 'a:b']) {
    const refused = { code: 'bad-input', message: expect.stringContaining(`"${group}"`) };
    await expect(groupId(group, setting)).rejects.toMatchObject(refused);
  }
  await expect(groupId(2 ** 32 - 1, setting)).rejects.toThrow(/4294967295 is no id of a group/);
});

test('the setting is a name, a number or nothing', () => {
  const config = (attachments?: unknown) =>
    checkConfig(
      { node: 'n1', address: '10.0.0.1', ...(attachments === undefined ? {} : { attachments }) },
      'f',
    );
  expect(config().attachments).toEqual({ group: null });
  expect(config({ group: 'kvm' }).attachments).toEqual({ group: 'kvm' });
  expect(config({ group: 64055 }).attachments).toEqual({ group: 64055 });
  expect(() => config({ group: '' })).toThrow(/attachments.group/);
  expect(() => config({ group: -1 })).toThrow(/attachments.group/);
  expect(() => config({ group: ['kvm'] })).toThrow(/attachments.group/);
  expect(() => config({ groups: 'kvm' })).toThrow(/no setting attachments.groups/);
  expect(() => config('kvm')).toThrow(/attachments/);
});

test('a socket and the way to it are open to the group, and closed again without one', async () => {
  const attach = join(directory, 'attach');
  mkdirSync(attach);
  chmodSync(directory, 0o700);
  const path = join(attach, 'v.sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const group = process.getegid?.() ?? 0;
  openDirectory(attach, group, directory);
  openSocket(path, group);
  expect([directory, attach, path].map(modeOf)).toEqual(['710', '750', '660']);
  openDirectory(attach, undefined, directory);
  openSocket(path, undefined);
  expect([attach, path].map(modeOf)).toEqual(['755', '600']);
  server.close();
});

test('a run directory that all may pass stays as it is', () => {
  const attach = join(directory, 'attach');
  mkdirSync(attach);
  chmodSync(directory, 0o711);
  openDirectory(attach, process.getegid?.() ?? 0, directory);
  expect(modeOf(directory)).toBe('711');
});

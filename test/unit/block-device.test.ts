import {
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import { BlockDeviceFiles, deviceNameOf } from '../../src/engine/block-device-files.ts';
import { blockDeviceArguments } from '../../src/engine/block-device-graph.ts';
import { BlockDeviceLinks, checkLinkName } from '../../src/engine/block-device-links.ts';
import { userText } from '../../src/engine/block-device-users.ts';
import { parseMountInfo } from '../../src/engine/mount-info.ts';
import { FakeService, quiet } from './api-fake-service.ts';

const volume = '0b6f3a52-6a3a-4b53-8a2e-58f2b34a1d33';

describe('the name of a link', () => {
  test.each(['db1', '{0b6f3a52-6a3a-4b53-8a2e-58f2b3', 'a.b_c-d', '.x', 'x'.repeat(64)])(
    'may be %s',
    (name) => {
      expect(checkLinkName(name)).toBe(name);
    },
  );

  test.each(['', '.', '..', 'a..b', '/x', 'a/b', 'a b', 'a\n', 'é', 'a\0', 'x'.repeat(65)])(
    'may not be %j',
    (name) => {
      expect(() => checkLinkName(name)).toThrowError(
        expect.objectContaining({ code: 'bad-input', message: expect.stringContaining('"') }),
      );
    },
  );
});

describe('links to devices', () => {
  let directory: string;
  const disks = '/run/hs/disks';
  const mine = new BlockDeviceFiles(disks, `${volume}.0123456789ab`).link;
  const other = new BlockDeviceFiles(disks, `${volume}.ba9876543210`).link;
  let links: BlockDeviceLinks;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hs-links-'));
    links = new BlockDeviceLinks(join(directory, 'dev'), disks);
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const at = (name: string) => join(directory, 'dev', name);
  const names = () => readdirSync(join(directory, 'dev')).sort();
  const never = () => false;

  test('one is found again, made twice, and removed', () => {
    expect(links.to(mine)).toEqual([]);
    expect(links.make('a', mine, never)).toBe(at('a'));
    expect(links.make('a', mine, never)).toBe(at('a'));
    expect(readlinkSync(at('a'))).toBe(mine);
    expect(links.to(mine)).toEqual([at('a')]);
    expect(links.removeUnless((target) => target === mine)).toEqual([]);
    expect(links.removeUnless(never)).toEqual([at('a')]);
    expect(names()).toEqual([]);
  });

  test('nothing of anybody else is replaced or removed', () => {
    links.make('mine', mine, never);
    writeFileSync(at('file'), 'x');
    symlinkSync('/dev/loop0', at('loop'));
    symlinkSync(`${disks}/deeper/x.dev`, at('deeper'));
    symlinkSync(`${disks}-2/x.dev`, at('beside'));
    for (const name of ['file', 'loop', 'deeper', 'beside']) {
      expect(() => links.make(name, mine, never)).toThrowError(
        expect.objectContaining({ code: 'exists' }),
      );
    }
    links.removeUnless(never);
    expect(names()).toEqual(['beside', 'deeper', 'file', 'loop']);
  });

  test('one of a live device is kept; one of a device that is gone gives way', () => {
    links.make('name', other, never);
    const live = (target: string) => target === other;
    expect(() => links.make('name', mine, live)).toThrowError(
      expect.objectContaining({ code: 'exists', hint: expect.stringContaining('another volume') }),
    );
    expect(links.to(other)).toEqual([at('name')]);
    links.make('name', mine, never);
    expect(links.to(mine)).toEqual([at('name')]);
  });

  test('a directory that cannot be made is an error that says so', () => {
    writeFileSync(join(directory, 'dev'), '');
    expect(() => links.make('a', mine, never)).toThrowError(
      expect.objectContaining({ code: 'engine', hint: expect.stringContaining('deviceDirectory') }),
    );
  });
});

test('names of devices carry the volume and a token that is used once', () => {
  const [one, two] = [BlockDeviceFiles.make('/d', volume), BlockDeviceFiles.make('/d', volume)];
  expect(one.name).not.toBe(two.name);
  expect(deviceNameOf(one.image)).toBe(one.name);
  expect(deviceNameOf(one.link)).toBe(one.name);
  // A loop device keeps 63 bytes of it.
  expect(one.name.length).toBeLessThan(64);
  expect(deviceNameOf('/d/something.img')).toBeUndefined();
  expect(deviceNameOf(`/d/${volume}.img`)).toBeUndefined();
});

test('the process waits for its attachment for a day, discards, and is for root alone', () => {
  const wanted = { session: 's1', socket: '/run/a.sock', file: '/run/d.img' };
  const argv = blockDeviceArguments(wanted, '/run/d.events');
  const json = argv.filter((word) => word.startsWith('{')).map((word) => JSON.parse(word));
  expect(json).toEqual([
    expect.objectContaining({
      driver: 'nbd',
      server: { type: 'unix', path: '/run/a.sock' },
      export: 's1',
      'reconnect-delay': 86_400,
      discard: 'unmap',
    }),
    expect.objectContaining({
      type: 'fuse',
      mountpoint: '/run/d.img',
      writable: true,
      growable: false,
      'allow-other': 'off',
    }),
  ]);
});

test('mounts are read as the kernel writes them', () => {
  const line = '36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - ext3 /dev/root\\011x rw';
  expect(parseMountInfo(`${line}\n`)).toEqual([
    { device: '98:0', point: '/a b', type: 'ext3', source: '/dev/root\tx' },
  ]);
});

test('users of a device are told of so that they can be found', () => {
  expect(userText({ kind: 'process', pid: 7, command: 'dd' })).toBe('dd (pid 7)');
  expect(userText({ kind: 'mount', pid: 1, point: '/mnt' })).toContain('/mnt');
});

describe('the requests', () => {
  const url = '/v1/volumes/db1/attachments/n1/device';

  test('make and take away, with and without wishes', async () => {
    const service = new FakeService();
    const app = await buildApp(service, { via: 'unix' }, quiet);
    expect((await app.inject({ method: 'PUT', url })).json()).toEqual({
      host: 'n1',
      device: '/dev/loop7',
      link: null,
    });
    const named = await app.inject({ method: 'PUT', url, payload: { name: 'x' } });
    expect(named.json()).toMatchObject({ link: '/dev/x' });
    const both = { name: 'y', attach: true };
    expect((await app.inject({ method: 'PUT', url, payload: both })).statusCode).toBe(200);
    expect((await app.inject({ method: 'DELETE', url })).statusCode).toBe(204);
    await app.inject({ method: 'DELETE', url: `${url}?force=true` });
    expect(service.calls.slice(-5)).toEqual([
      ['make-device', 'db1', 'n1', undefined],
      ['make-device', 'db1', 'n1', 'x'],
      ['make-device', 'db1', 'n1', 'y', 'attach'],
      ['remove-device', 'db1', 'n1', false],
      ['remove-device', 'db1', 'n1', true],
    ]);
    await app.close();
  });

  test.each([{ name: '' }, { name: 'a/b' }, { name: 'x'.repeat(65) }, { name: 7 }, { nam: 'x' }])(
    'refuse %j',
    async (payload) => {
      const service = new FakeService();
      const app = await buildApp(service, { via: 'unix' }, quiet);
      const answer = await app.inject({ method: 'PUT', url, payload });
      expect(answer.json()).toMatchObject({ code: 'bad-input' });
      expect(service.calls).toEqual([]);
      await app.close();
    },
  );
});

/** Where a node without a pool remembers who it is. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkConfig, homeOf } from '../../src/daemon/config.ts';
import { initPool } from '../../src/node/pool.ts';
import { openStateDirectory } from '../../src/node/state-directory.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hs-state-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const open = (directory: string, node = 'n4') => openStateDirectory(directory, node, 'now');

test('it is made once, and then recognised', async () => {
  const directory = join(base, 'deep', 'state');
  const first = await open(directory);
  expect(first).toMatchObject({ node: 'n4', createdAt: 'now' });
  expect(await open(directory)).toEqual(first);
  expect(readdirSync(directory)).toEqual(['hyperscale-node.json']);
  // What a power cut left of the first start.
  const cut = join(base, 'cut');
  mkdirSync(cut);
  writeFileSync(join(cut, 'hyperscale-node.json~'), '{');
  expect((await open(cut)).pool).not.toBe(first.pool);
});

test('nothing else is taken for it', async () => {
  const refused = (directory: string, node?: string) =>
    expect(open(directory, node)).rejects.toMatchObject({ code: 'foreign-pool' });
  const mine = join(base, 'mine');
  await open(mine);
  await refused(mine, 'n5');
  const pool = join(base, 'pool');
  mkdirSync(pool);
  await initPool(pool, 'n4', 'now');
  await refused(pool);
  const others = join(base, 'others');
  mkdirSync(others);
  writeFileSync(join(others, 'letter'), 'x');
  await refused(others);
  await refused(join(others, 'letter'));
  writeFileSync(join(mine, 'hyperscale-node.json'), '{"pool":1}');
  await refused(mine);
  expect(readdirSync(others)).toEqual(['letter']);
});

test('the configuration says that there is no pool', () => {
  const given = { node: 'n4', address: '10.0.0.4' };
  const none = checkConfig({ ...given, pool: 'none' }, 'file');
  expect(homeOf(none)).toEqual({ home: '/var/lib/hyperscale/state', isPool: false });
  const pool = checkConfig({ ...given, stateDirectory: '/x' }, 'file');
  expect(homeOf(pool)).toEqual({ home: '/var/lib/hyperscale/pool', isPool: true });
  for (const wrong of [null, '', 'nowhere', 'none/x', 'none ', 7]) {
    expect(() => checkConfig({ ...given, pool: wrong }, 'file')).toThrow(/pool/);
  }
  expect(() => checkConfig({ ...given, stateDirectory: 'x' }, 'file')).toThrow(/stateDirectory/);
});

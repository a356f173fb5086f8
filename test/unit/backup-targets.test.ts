import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TargetSettings } from '../../src/daemon/backup-config.ts';
import { BackupHost } from '../../src/daemon/backup-host.ts';
import { BackupTargets } from '../../src/daemon/backup-targets.ts';
import { checkConfig } from '../../src/daemon/config.ts';
import { startS3 } from './backup-s3-server.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hs-targets-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function secret(name: string, text: string, mode = 0o600): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function inDirectory(more: TargetSettings = {}): TargetSettings {
  const path = join(directory, 'nas');
  mkdirSync(path, { recursive: true });
  return { directory: path, ...more };
}

describe('the settings', () => {
  const check = (backup: unknown) => () =>
    checkConfig({ node: 'n1', address: '10.0.0.1', backup }, 'f').backup;
  const targets = (nas: unknown) => check({ targets: { nas } });

  test('may have none, some of them, or all', () => {
    expect(check(undefined)()).toMatchObject({ bytesPerSecond: 100 * 2 ** 20, targets: {} });
    const nas = { directory: '/mnt/nas', keyFile: '/etc/key' };
    expect(targets(nas)()).toMatchObject({ targets: { nas } });
    const s3 = { bucket: 'b', credentialsFile: '/etc/s3', endpoint: 'https://s3.example' };
    expect(check({ bytesPerSecond: 0, targets: { s3 } })()).toMatchObject({
      bytesPerSecond: 0,
      targets: { s3 },
    });
  });

  test.each([
    [{}, /either a directory or a bucket/],
    [{ directory: '/a', bucket: 'b' }, /either a directory or a bucket/],
    [{ directory: '/a', region: 'x' }, /is a directory, which has no region/],
    [{ bucket: 'b' }, /has no credentialsFile/],
    [{ directory: 'relative' }, /directory/],
    [{ directory: '/a', secret: 'x' }, /targets/],
  ])('that cannot be are refused: %j', (nas, why) => {
    expect(targets(nas)).toThrow(why);
  });

  test('name what is wrong beside the targets', () => {
    expect(check({ bytesPerSecond: 1000 })).toThrow(/neither 0/);
    expect(check({ target: {} })).toThrow(/no setting backup.target/);
    expect(check({ targets: { '../x': { directory: '/a' } } })).toThrow(/backup/);
  });
});

describe('a target', () => {
  test('is opened by its name, once, and can be made', async () => {
    const targets = new BackupTargets({ nas: inDirectory() });
    expect(targets.names()).toEqual(['nas']);
    await expect(targets.open('nas')).rejects.toMatchObject({ code: 'not-found' });
    const made = await targets.create('nas');
    expect(await targets.open('nas')).toBe(made);
    await expect(targets.create('nas')).rejects.toMatchObject({ code: 'exists' });
    await expect(targets.open('toString')).rejects.toMatchObject({ code: 'not-found' });
    await targets.close();
  });

  test('is not opened with a key that others may read', async () => {
    const keyFile = secret('key', 'a key that is long enough', 0o640);
    const targets = new BackupTargets({ nas: inDirectory({ keyFile }) });
    await expect(targets.create('nas')).rejects.toMatchObject({ code: 'not-allowed' });
    chmodSync(keyFile, 0o600);
    expect((await targets.create('nas')).encrypted).toBe(true);
  });

  test('never tells what is in a file of credentials', async () => {
    const credentialsFile = secret('s3', 'secretAccessKey: [topsecret');
    const targets = new BackupTargets({ s3: { bucket: 'b-1', credentialsFile } });
    const failed = await targets.open('s3').catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'bad-input' });
    expect(String(failed)).not.toContain('topsecret');
    const missing = new BackupTargets({ s3: { bucket: 'b-1', credentialsFile: '/nowhere' } });
    await expect(missing.open('s3')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('the process that works on a target', () => {
  test('reaches a bucket with the credentials of its file', async () => {
    const s3 = await startS3();
    const { bucket, endpoint, prefix, region, credentials } = s3.options;
    const { accessKeyId, secretAccessKey } = credentials;
    const text = `accessKeyId: ${accessKeyId}\nsecretAccessKey: ${secretAccessKey}\n`;
    const settings: TargetSettings = {
      ...{ bucket, pathStyle: true, credentialsFile: secret('s3', text) },
      ...{ ...(endpoint && { endpoint }), ...(prefix && { prefix }), ...(region && { region }) },
    };
    const host = new BackupHost({ s3: settings }, directory);
    try {
      await host.call('s3', 'create', { chunkBytes: 4096 });
      expect(await host.call('s3', 'describe', {})).toMatchObject({ chunkBytes: 4096 });
      expect(await host.call('s3', 'sweep', { volume: 'v1' })).toMatchObject({ keptObjects: 0 });
      expect(s3.requests.some((r) => r.includes('/backups/site/a/repository.json'))).toBe(true);
    } finally {
      host.close();
      await s3.close();
    }
  });

  test('answers, passes errors on, and is there again after its end', async () => {
    const host = new BackupHost({ nas: inDirectory() }, directory);
    await expect(host.call('nas', 'list', {})).rejects.toMatchObject({
      code: 'not-found',
      hint: expect.stringMatching(/./),
    });
    await expect(host.call('s3', 'list', {})).rejects.toMatchObject({ code: 'not-found' });
    expect(await host.call('nas', 'create', {})).toMatchObject({ encrypted: false });
    expect(await host.call('nas', 'list', {})).toEqual([]);
    // Not mounted any more: that is not the same as without backups.
    renameSync(join(directory, 'nas'), join(directory, 'away'));
    mkdirSync(join(directory, 'nas'));
    await expect(host.call('nas', 'list', {})).rejects.toMatchObject({ code: 'not-found' });
    rmdirSync(join(directory, 'nas'));
    renameSync(join(directory, 'away'), join(directory, 'nas'));
    expect(await host.call('nas', 'list', {})).toEqual([]);
    const asked = host.call('nas', 'volumes', {});
    host.close();
    await expect(asked).rejects.toMatchObject({ code: 'unavailable' });
    expect(await host.call('nas', 'volumes', {})).toEqual([]);
    const signal = AbortSignal.abort();
    await expect(host.call('nas', 'list', {}, { signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    host.close();
  });
});

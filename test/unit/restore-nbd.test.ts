/** What a backup looks like as blocks, and the NBD server that shows it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NbdClient } from '../../lab/nbd.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { BackupBlocks } from '../../src/restore/backup-source.ts';
import type { BlockSource } from '../../src/restore/block-source.ts';
import { NbdServer } from '../../src/restore/nbd-server.ts';
import { PatientSource } from '../../src/restore/patient-source.ts';
import { chunk, expectSame, FakeVolume, memoryRepository, noise } from './backup-fixtures.ts';

const never = new AbortController().signal;
const away = () => new HyperscaleError('unavailable', 'the target is away');
const lost = () => new HyperscaleError('damaged', '4096 bytes at 0 are lost');

/** Blocks whose reads do what the test wants first. */
class Blocks implements BlockSource {
  readonly content = noise(256 * 1024, 7);
  readonly sizeBytes = this.content.length;
  underWay = 0;
  mostUnderWay = 0;
  before: (signal: AbortSignal) => Promise<void> = () => Promise.resolve();

  async read(offset: number, length: number, signal: AbortSignal): Promise<Buffer> {
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    try {
      await this.before(signal);
      return this.content.subarray(offset, offset + length);
    } finally {
      this.underWay -= 1;
    }
  }

  extents = () => Promise.resolve([{ length: this.sizeBytes, zero: false }]);
}

describe('the NBD server', () => {
  let directory: string;
  let path: string;
  let blocks: Blocks;
  let server: NbdServer;
  let errors: unknown[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hs-nbd-'));
    path = join(directory, 's');
    blocks = new Blocks();
    errors = [];
    const onError = (error: unknown) => errors.push(error);
    server = await NbdServer.listen({ path }, blocks, { onError, name: 'layer' });
  });
  afterEach(async () => {
    await server.close();
    await rm(directory, { recursive: true });
  });

  test('shows what the source has, to several at a time', async () => {
    const clients = await Promise.all([1, 2].map(() => NbdClient.open(path, 'layer')));
    expect(server.connections).toBe(2);
    const reads = clients.flatMap((client) =>
      [0, 100_000, blocks.sizeBytes - 1].map(async (offset) => {
        const length = Math.min(5_000, blocks.sizeBytes - offset);
        expectSame(
          await client.read(offset, length),
          blocks.content.subarray(offset, offset + length),
        );
      }),
    );
    await Promise.all(reads);
    for (const client of clients) client.close();
    await expect.poll(() => server.connections).toBe(0);
  });

  test('refuses another name, what is not there, and writes; and goes on', async () => {
    await expect(NbdClient.open(path, 'other')).rejects.toThrow();
    const client = await NbdClient.open(path, 'layer');
    const refused = /errno 22/;
    await expect(client.read(blocks.sizeBytes - 10, 11)).rejects.toThrow(refused);
    await expect(client.read(2 ** 52, 1)).rejects.toThrow(refused);
    await expect(client.read(0, 0)).rejects.toThrow(refused);
    expectSame(await client.read(0, 4), blocks.content.subarray(0, 4));
    expect(errors).toEqual([]);
    // A write brings data that nobody here waits for: the connection ends.
    await expect(client.write(0, Buffer.alloc(64))).rejects.toThrow();
    client.close();
  });

  test('answers an error where the source has one, and tells of it', async () => {
    blocks.before = () => Promise.reject(lost());
    const client = await NbdClient.open(path, 'layer');
    await expect(client.read(0, 4)).rejects.toThrow(/errno 5/);
    expect(errors).toMatchObject([{ code: 'damaged' }]);
    blocks.before = () => Promise.resolve();
    expectSame(await client.read(0, 4), blocks.content.subarray(0, 4));
    client.close();
  });

  test('works on so many requests at a time, and ends those that nobody waits for', async () => {
    blocks.before = (signal) => delay(60_000, undefined, { signal });
    const client = await NbdClient.open(path, 'layer');
    const reads = Array.from({ length: 100 }, (_, i) => client.read(i * 512, 512).catch(String));
    await expect.poll(() => blocks.underWay).toBe(16);
    await server.close();
    expect(await Promise.all(reads)).toEqual(Array(100).fill(expect.stringMatching(/Error/)));
    await expect.poll(() => blocks.underWay).toBe(0);
    expect(blocks.mostUnderWay).toBe(16);
    expect(errors).toEqual([]);
  });

  const sayings: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['noise', noise(4_096, 3)],
    ['a request before the handshake', Buffer.from('2560951300000000', 'hex')],
    ['an option that has no end', option(7, 0xffff_ffff)],
    ['a name longer than its option', option(7, 4, Buffer.from('ffffffff', 'hex'))],
    ['contexts that are not there', option(10, 8, Buffer.from('00000000ffffffff', 'hex'))],
  ];
  test.each(sayings)('is not hurt by a client that says %s', async (_, said) => {
    const socket = connect({ path });
    socket.on('error', () => undefined);
    socket.write(said);
    socket.end();
    await closed(socket);
    const client = await NbdClient.open(path, 'layer');
    expectSame(await client.read(0, 4), blocks.content.subarray(0, 4));
    client.close();
  });
});

/** Client flags, and one option. */
function option(kind: number, length: number, content = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt32BE(3, 0);
  header.write('IHAVEOPT', 4, 'latin1');
  header.writeUInt32BE(kind, 12);
  header.writeUInt32BE(length, 16);
  return Buffer.concat([header, content]);
}

async function closed(socket: Socket): Promise<void> {
  socket.resume();
  if (socket.closed) return;
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
}

describe('a backup as blocks', () => {
  const content = Buffer.concat([noise(chunk, 1), Buffer.alloc(2 * chunk), noise(chunk + 100, 2)]);

  async function backupBlocks(sizeBytes: number): Promise<BackupBlocks> {
    const { repository } = await memoryRepository();
    const volume = new FakeVolume(content.length);
    volume.content = content;
    const { entry } = await repository.write(volume.source());
    return new BackupBlocks(await repository.open('v1', entry.id), sizeBytes);
  }

  test('has zeros where the backup ends', async () => {
    const blocks = await backupBlocks(8 * chunk);
    const whole = Buffer.concat([content, Buffer.alloc(8 * chunk - content.length)]);
    expectSame(await blocks.read(0, whole.length, never), whole);
    expectSame(await blocks.read(4 * chunk, chunk, never), whole.subarray(4 * chunk, 5 * chunk));
    expectSame(await blocks.read(6 * chunk, chunk, never), Buffer.alloc(chunk));
    expect(() => new BackupBlocks({ entry: { sizeBytes: 10 } } as never, 9)).toThrow(/larger/);
  });

  test('tells where there are only zeros', async () => {
    const blocks = await backupBlocks(8 * chunk);
    expect(await blocks.extents(0, 8 * chunk, never)).toEqual([
      { length: chunk, zero: false },
      { length: 2 * chunk, zero: true },
      { length: chunk + 100, zero: false },
      { length: 4 * chunk - 100, zero: true },
    ]);
    expect(await blocks.extents(chunk + 1, 7, never)).toEqual([{ length: 7, zero: true }]);
    expect(await blocks.extents(6 * chunk, 9, never)).toEqual([{ length: 9, zero: true }]);
  });
});

describe('a patient source', () => {
  test('waits for what is away, tells why, and takes no other error', async () => {
    const blocks = new Blocks();
    const told: unknown[] = [];
    const onTrouble = (error: unknown) => told.push(error);
    let mounted = true;
    const look = () => (mounted ? Promise.resolve() : Promise.reject(away()));
    const patient = new PatientSource(blocks, { onTrouble, look });
    let tries = 0;
    blocks.before = async () => {
      tries += 1;
      if (tries === 1) throw away();
    };
    expectSame(await patient.read(0, 4, never), blocks.content.subarray(0, 4));
    blocks.before = () => Promise.reject(lost());
    await expect(patient.read(0, 4, never)).rejects.toMatchObject({ code: 'damaged' });
    // Where nothing is there, nothing is known to be lost.
    mounted = false;
    blocks.before = () => {
      if (told.length === 3) mounted = true;
      return told.length === 3 ? Promise.resolve() : Promise.reject(lost());
    };
    expectSame(await patient.read(0, 4, never), blocks.content.subarray(0, 4));
    const waited = expect.objectContaining({ code: 'unavailable' });
    expect(told).toEqual([waited, null, waited, null]);
  });

  test('waits no longer than it is waited for', async () => {
    const blocks = new Blocks();
    blocks.before = () => Promise.reject(away());
    const gone = new AbortController();
    const onTrouble = () => gone.abort();
    const patient = new PatientSource(blocks, { onTrouble, look: () => Promise.resolve() });
    await expect(patient.read(0, 4, gone.signal)).rejects.toThrow();
  });
});

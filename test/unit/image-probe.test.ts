/** What may become an image: files that look harmless, and files that were made to harm. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isHyperscaleError } from '../../src/errors.ts';
import { type ImageFormat, imageFormatNamed } from '../../src/image/format.ts';
import { probeImage, volumeBytes } from '../../src/image/probe.ts';

const directory = mkdtempSync(join(tmpdir(), 'hs-probe-'));
afterAll(() => rmSync(directory, { recursive: true }));

const mib = 2 ** 20;
const at = (name: string) => join(directory, name);
const signal = new AbortController().signal;

function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** An image of 8 MiB with some data. */
function image(name: string, format: string, ...options: string[]): string {
  const raw = at(`${name}.source`);
  writeFileSync(raw, Buffer.concat([Buffer.alloc(2 * mib), Buffer.alloc(mib, 7)]));
  truncateSync(raw, 8 * mib);
  qemuImg('convert', '-f', 'raw', '-O', format, ...options, raw, at(name));
  return at(name);
}

/** A file of a known content, or a changed copy of another one. */
function file(name: string, content: Buffer | string): string {
  writeFileSync(at(name), content);
  return at(name);
}

function changed(name: string, from: string, change: (content: Buffer) => void): string {
  const content = readFileSync(from);
  change(content);
  return file(name, content);
}

async function probe(path: string, format: ImageFormat | null = null, maxSizeBytes?: number) {
  const more = maxSizeBytes === undefined ? {} : { maxSizeBytes };
  return probeImage(path, { format, ...more }, signal);
}

/** Why a file is refused; empty when it is taken. */
async function refusal(...args: Parameters<typeof probe>): Promise<string> {
  try {
    await probe(...args);
    return '';
  } catch (error) {
    if (isHyperscaleError(error, 'bad-input') && error.hint !== undefined) return error.message;
    throw error;
  }
}

const qcow2 = image('plain.qcow2', 'qcow2');
const vmdk = image('plain.vmdk', 'vmdk', '-o', 'subformat=streamOptimized');

describe('an image', () => {
  it.each([
    ['qcow2', qcow2, 'qcow2'],
    ['compressed qcow2', image('c.qcow2', 'qcow2', '-c'), 'qcow2'],
    ['old qcow2', image('old.qcow2', 'qcow2', '-o', 'compat=0.10'), 'qcow2'],
    ['layer of our own', image('layer.qcow2', 'qcow2', '-o', 'extended_l2=on'), 'qcow2'],
    ['vmdk', image('sparse.vmdk', 'vmdk'), 'vmdk'],
    ['streamed vmdk', vmdk, 'vmdk'],
    ['vhdx', image('plain.vhdx', 'vhdx'), 'vhdx'],
    ['raw', at('plain.qcow2.source'), 'raw'],
  ])('of format %s is taken for what it is', async (_, path, format) => {
    const probed = await probe(path);
    expect(probed).toMatchObject({ format, virtualBytes: 8 * mib, sizeBytes: 8 * mib });
    expect(await probe(path, probed.format)).toEqual(probed);
  });

  it.each(['dynamic', 'fixed'])(
    'of format vhd (%s) has the size that QEMU gives it',
    async (kind) => {
      const path = image(`${kind}.vhd`, 'vpc', '-o', `subformat=${kind}`);
      const { format, sizeBytes } = await probe(path);
      expect(format).toBe('vpc');
      // In cylinders, heads and sectors.
      expect(sizeBytes).toBeGreaterThanOrEqual(8 * mib);
    },
  );

  it('has the size of the next volume', async () => {
    expect(volumeBytes(1)).toBe(mib);
    expect(volumeBytes(5 * mib + 1)).toBe(5 * mib + 4096);
    const odd = file('odd.raw', Buffer.alloc(2 * mib + 1000, 1));
    expect(await probe(odd)).toMatchObject({ sizeBytes: 2 * mib + 4096 });
    expect(imageFormatNamed('VHD')).toBe('vpc');
    expect(() => imageFormatNamed('luks')).toThrow('"luks"');
  });

  it('may have internal snapshots, which are told, without the memory of a machine', async () => {
    const path = image('snap.qcow2', 'qcow2');
    qemuImg('snapshot', '-c', 'before', path);
    expect((await probe(path)).snapshots).toEqual(['before']);
    const table = Number(readFileSync(path).readBigUInt64BE(64));
    // Size of the memory in the snapshot's table entry, behind its fixed part.
    const running = changed('vm.qcow2', path, (c) => c.writeBigUInt64BE(4096n, table + 40));
    expect(await refusal(running)).toContain('memory of a running machine');
  });
});

describe('refused is', () => {
  it('a backing file, however it is named', async () => {
    const secret = file('secret', 'root:x:0:0\n'.repeat(200));
    const over = ['-b', secret, '-F', 'raw', at('over.qcow2'), '8M'];
    qemuImg('create', '-f', 'qcow2', ...over);
    expect(await refusal(at('over.qcow2'))).toContain('backing file');
    for (const name of [`json:{"driver":"file","filename":"${secret}"}`, 'nbd://10.0.0.1/x']) {
      const evil = changed('evil.qcow2', qcow2, (content) => {
        content.writeBigUInt64BE(1024n, 8);
        content.writeUInt32BE(name.length, 16);
        content.write(name, 1024);
      });
      expect(await refusal(evil)).toContain('backing file');
      expect(await refusal(evil, 'qcow2')).toContain('backing file');
    }
  });

  it('a data file, by its bit or by its name alone', async () => {
    const options = `data_file=${at('data')},data_file_raw=on`;
    qemuImg('create', '-f', 'qcow2', '-o', options, at('data.qcow2'), '8M');
    expect(await refusal(at('data.qcow2'))).toContain('another file');
    const evil = changed('named.qcow2', qcow2, (content) => {
      const extensions = content.readUInt32BE(100);
      content.write('DATA', extensions, 'latin1');
      content.writeUInt32BE(16, extensions + 4);
      content.write('/etc/shadow\0\0\0\0\0', extensions + 8, 'latin1');
    });
    expect(await refusal(evil)).toContain('another file');
  });

  it('a vmdk that names other files', async () => {
    image('flat.vmdk', 'vmdk', '-o', 'subformat=monolithicFlat');
    expect(await refusal(at('flat.vmdk'))).toContain('other files');
    const text = [
      '# Disk DescriptorFile',
      'version=1',
      'CID=12345678',
      'parentCID=ffffffff',
      'createType="monolithicFlat"',
      'RW 16384 FLAT "/etc/shadow" 0',
      '',
    ].join('\n');
    expect(await refusal(file('shadow.vmdk', text))).toContain('other files');
    expect(await refusal(at('shadow.vmdk'), 'vmdk')).toContain('other files');
    // Within a sparse file: QEMU goes by the text when the header has no size.
    const within = changed('within.vmdk', vmdk, (content) => {
      content.writeBigUInt64LE(0n, 12);
      content.fill(0, 512, 4096).write(text, 512);
    });
    expect(await refusal(within)).toContain('no size');
    const flat = changed('flat-text.vmdk', vmdk, (content) => {
      content.fill(0, 512, 4096).write(text, 512);
    });
    expect(await refusal(flat)).toContain('monolithicFlat');
    const withText = (name: string, change: (text: string) => string) =>
      changed(name, vmdk, (content) => {
        const old = content.toString('latin1', 512, 4096).split('\0')[0] ?? '';
        content.write(change(old), 512, 'latin1');
      });
    const hint = 'parentFileNameHint="/etc/shadow"\n';
    expect(await refusal(withText('hint.vmdk', (old) => old + hint))).toContain('has a parent');
    const child = withText('child.vmdk', (old) =>
      old.replace('parentCID=ffffffff', 'parentCID=12345678'),
    );
    expect(await refusal(child)).toContain('difference to a parent');
  });

  it('a disk on which a guest wrote the header of another image, when it is said to be raw only', async () => {
    const disk = file('disk.raw', Buffer.alloc(4 * mib, 1));
    const over = readFileSync(at('over.qcow2'));
    const attacked = changed('attacked.raw', disk, (content) => over.copy(content, 0, 0, 65_536));
    // Not guessed to be raw, nor is what its header names ever opened.
    expect(await refusal(attacked)).toContain('backing file');
    expect(await probe(attacked, 'raw')).toMatchObject({ format: 'raw', virtualBytes: 4 * mib });
    expect(await refusal(disk, 'qcow2')).toContain('not qcow2');
    for (const format of ['vmdk', 'vpc', 'vhdx'] as const) {
      expect(await refusal(disk, format)).toContain('it is not');
    }
  });

  it('what is encrypted, damaged or unknown', async () => {
    const set = (name: string, change: (content: Buffer) => void) =>
      refusal(changed(name, qcow2, change));
    expect(await set('luks.qcow2', (c) => c.writeUInt32BE(2, 32))).toContain('encrypted');
    expect(await set('dirty.qcow2', (c) => c.writeBigUInt64BE(1n, 72))).toContain('in use');
    expect(await set('corrupt.qcow2', (c) => c.writeBigUInt64BE(2n, 72))).toContain('corrupt');
    expect(await set('future.qcow2', (c) => c.writeBigUInt64BE(64n, 72))).toContain('0x40');
    expect(await set('v1.qcow2', (c) => c.writeUInt32BE(1, 4))).toContain('version 1');
    expect(await set('table.qcow2', (c) => c.fill(0xff, 3 * 65_536, 3 * 65_536 + 64))).not.toBe('');
  });

  it('what is absurdly large, or needs absurdly much', async () => {
    const set = (name: string, change: (content: Buffer) => void) =>
      refusal(changed(name, qcow2, change));
    expect(await set('huge.qcow2', (c) => c.writeBigUInt64BE(2n ** 62n, 24))).toContain('shows');
    expect(await set('none.qcow2', (c) => c.writeBigUInt64BE(0n, 24))).toContain('no size');
    expect(await set('l1.qcow2', (c) => c.writeUInt32BE(0xffff_ffff, 36))).toContain('memory');
    expect(await set('rc.qcow2', (c) => c.writeUInt32BE(0xffff, 56))).toContain('memory');
    expect(await set('snaps.qcow2', (c) => c.writeUInt32BE(60_000, 60))).toContain('60000');
    expect(await set('bits.qcow2', (c) => c.writeUInt32BE(40, 20))).toContain('2^40');
    const sparse = file('sparse.raw', '');
    truncateSync(sparse, 10 * 2 ** 40);
    expect(await probe(sparse)).toMatchObject({ sizeBytes: 10 * 2 ** 40 });
    expect(await refusal(sparse, null, 2 ** 40)).toContain('is the most');
    qemuImg('create', '-f', 'qcow2', at('large.qcow2'), '60T');
    expect(await probe(at('large.qcow2'))).toMatchObject({ sizeBytes: 60 * 2 ** 40 });
    expect(await refusal(at('large.qcow2'), null, 2 ** 40)).toContain('is the most');
  });

  it('what was cut', async () => {
    const cut = (name: string, from: string, bytes: number) =>
      file(name, readFileSync(from).subarray(0, bytes));
    expect(await refusal(file('empty', ''))).toContain('empty');
    expect(await refusal(cut('a.qcow2', qcow2, 50))).toContain('ends before its header');
    expect(await refusal(cut('b.qcow2', qcow2, 150_000))).toContain('ends before its tables');
    const { size } = statSync(qcow2);
    expect(await refusal(cut('c2.qcow2', qcow2, size - mib))).toContain('damaged');
    expect(await refusal(cut('a.vmdk', vmdk, 100))).toContain('ends before its header');
    const vhd = image('whole.vhd', 'vpc');
    expect(await refusal(cut('a.vhd', vhd, statSync(vhd).size - 512))).toContain('its footer');
    const vhdx = at('plain.vhdx');
    expect(await refusal(cut('a.vhdx', vhdx, statSync(vhdx).size / 2))).not.toBe('');
  });

  it('what is packed, unless it is said to be raw', async () => {
    const gzip = file(
      'disk.gz',
      Buffer.concat([Buffer.from('1f8b0800', 'hex'), Buffer.alloc(mib)]),
    );
    expect(await refusal(gzip)).toContain('gzip');
    expect(await probe(gzip, 'raw')).toMatchObject({ format: 'raw' });
    const tar = Buffer.alloc(mib);
    tar.write('ustar', 257);
    expect(await refusal(file('machine.ova', tar))).toContain('archive');
  });

  it('what the caller does not wait for', async () => {
    const gone = AbortSignal.abort();
    await expect(probeImage(qcow2, { format: null }, gone)).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});

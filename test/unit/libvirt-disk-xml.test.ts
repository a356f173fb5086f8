import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkQos } from '../../src/libvirt/disk-qos.ts';
import {
  type DiskConfig,
  type DiskSource,
  diskBuses,
  diskXml,
  reconnectSeconds,
} from '../../src/libvirt/disk-xml.ts';
import { domainDisks } from '../../src/libvirt/domain-xml.ts';
import { attribute, child, parseXml } from '../../src/libvirt/xml.ts';

const volume = '6b2a7c1e-96f0-4a86-8d6b-0f3f1f5c7a10';
const network: DiskSource = { type: 'network', socket: '/run/h/a/v.sock', export: 'session-1' };
const block: DiskSource = { type: 'block', path: '/dev/6b2a7c1e-96f0-4a86' };
const plain: DiskConfig = { source: network, serial: volume, target: 'vda', bus: 'virtio' };

const domainOf = (disks: string[]) => `<domain type='qemu'>
  <name>d</name><memory>65536</memory><os><type>hvm</type></os>
  <devices>${disks.join('\n')}</devices>
</domain>`;

/** What libvirt's own validator says about a domain; empty when it is valid. */
function validate(xml: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'hs-xml-'));
  try {
    const file = join(directory, 'domain.xml');
    writeFileSync(file, xml);
    const { status, stderr } = spawnSync('virt-xml-validate', [file, 'domain'], {
      encoding: 'utf8',
    });
    return status === 0 ? '' : `${stderr}\n${xml}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function* everyConfig(): Generator<DiskConfig> {
  for (const source of [network, block]) {
    for (const bus of diskBuses) {
      for (let options = 0; options < 32; options++) {
        const has = (bit: number) => (options & (1 << bit)) !== 0;
        if (has(1) && (bus === 'ide' || bus === 'sata')) continue;
        yield {
          ...{ source, bus, serial: volume, target: bus === 'virtio' ? 'vdb' : 'sdb' },
          ...(has(0) ? { bootOrder: 1 } : {}),
          ...(has(1) ? { readOnly: true } : {}),
          ...(has(2) ? { shareable: true } : {}),
          ...(has(3) ? { discard: false } : {}),
          ...(has(4) ? { qos: everyLimit } : {}),
        };
      }
    }
  }
}

const everyLimit = {
  total_bytes_sec: 1_000_000,
  total_bytes_sec_max: 2_000_000,
  total_bytes_sec_max_length: 30,
  read_iops_sec: 100,
  write_iops_sec: 200,
  read_iops_sec_max: 1000,
  write_iops_sec_max: 200,
  read_iops_sec_max_length: 5,
  write_iops_sec_max_length: 5,
  size_iops_sec: 4096,
};

test("libvirt's schema takes the disk of every bus, source and option", () => {
  const disks = [...everyConfig()].map(diskXml);
  expect(disks.length).toBe(256);
  expect(validate(domainOf(disks))).toBe('');
});

test('the validator that these tests trust refuses a wrong disk', () => {
  const disk = diskXml(plain).replace('delay=', 'delays=');
  expect(validate(domainOf([disk]))).not.toBe('');
});

test('a disk waits for its volume, stops the guest on errors and caches nothing', () => {
  const [disk] = parseXml(diskXml(plain));
  const driver = child(disk!, 'driver');
  const source = child(disk!, 'source')!;
  expect(attribute(disk, 'type')).toBe('network');
  expect(attribute(driver, 'cache')).toBe('none');
  expect(attribute(driver, 'error_policy')).toBe('stop');
  expect(attribute(driver, 'rerror_policy')).toBe('stop');
  expect(attribute(driver, 'discard')).toBe('unmap');
  expect(attribute(driver, 'io')).toBeUndefined();
  expect(attribute(child(source, 'reconnect'), 'delay')).toBe(String(reconnectSeconds));
  const [onBlock] = parseXml(diskXml({ ...plain, source: block }));
  expect(attribute(child(onBlock!, 'driver'), 'io')).toBe('native');
});

test('names with markup in them stay values', () => {
  const hostile = [`/run/<a>&"b'/x`, `/run/]]>`, '/run/&amp;&#10;', '/run/a b\tc', '/run/é🜁'];
  for (const socket of hostile) {
    const source: DiskSource = { type: 'network', socket, export: `${socket}'\n/><x y="` };
    const xml = domainOf([diskXml({ ...plain, source })]);
    expect(validate(xml)).toBe('');
    expect(domainDisks(xml)).toEqual([{ target: 'vda', bus: 'virtio', serial: volume, source }]);
  }
  const path = `/dev/"><source dev='/etc/shadow'/><!--`;
  const xml = domainOf([diskXml({ ...plain, source: { type: 'block', path } })]);
  expect(domainDisks(xml).map((d) => d.source)).toEqual([{ type: 'block', path }]);
});

test('any export name is read back as it was given, or refused', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), (name) => {
      const source: DiskSource = { type: 'network', socket: '/s', export: name };
      let xml: string;
      try {
        xml = domainOf([diskXml({ ...plain, source })]);
      } catch (error) {
        expect(error).toMatchObject({ code: 'bad-input' });
        return;
      }
      expect(domainDisks(xml)[0]?.source).toEqual(source);
    }),
  );
});

test('what libvirt would not take is refused by name', () => {
  const refusals: [Partial<DiskConfig>, RegExp][] = [
    [{ serial: '' }, /the serial ""/],
    [{ serial: `a' b` }, /the serial "a' b"/],
    [{ target: '../vda' }, /the target "..\/vda"/],
    [{ target: '' }, /the target ""/],
    [{ bus: 'nvme' as never }, /the bus "nvme".*virtio, scsi, sata, ide, usb/],
    [{ bootOrder: 0 }, /the boot order 0/],
    [{ bootOrder: 1.5 }, /the boot order 1.5/],
    [{ bus: 'sata', readOnly: true }, /the bus "sata"/],
    [{ source: { ...network, socket: 'v.sock' } }, /the socket "v.sock".*absolute/],
    [{ source: { ...network, socket: `/${'x'.repeat(107)}` } }, /at most 107 bytes/],
    [{ source: { ...network, socket: '/a\nb' } }, /one line/],
    [{ source: { ...network, export: '' } }, /the export name ""/],
    [{ source: { ...network, export: 'a\0b' } }, /cannot be written in XML/],
    [{ source: { type: 'block', path: 'sda' } }, /the block device "sda".*absolute/],
    [{ qos: { total_iops_sec: -1 } }, /total_iops_sec -1 is not a limit/],
  ];
  for (const [change, message] of refusals) {
    expect(() => diskXml({ ...plain, ...change })).toThrow(message);
  }
});

test('limits that QEMU would refuse are refused by name', () => {
  expect(() => checkQos({ total_iops_sec: 1, read_iops_sec: 1 })).toThrow(/exclude each other/);
  expect(() => checkQos({ total_iops_sec: 0, read_iops_sec: 1 })).not.toThrow();
  expect(() => checkQos({ total_iops_sec_max: 5 })).toThrow(/needs total_iops_sec as well/);
  expect(() => checkQos({ total_iops_sec: 6, total_iops_sec_max: 5 })).toThrow(/is below/);
  expect(() => checkQos({ write_bytes_sec_max_length: 5 })).toThrow(/needs write_bytes_sec_max /);
  expect(() => checkQos({ iops: 5 } as never)).toThrow(/there is no limit "iops"/);
  expect(() => checkQos({ total_iops_sec: 1.5 })).toThrow(/total_iops_sec 1.5/);
  expect(() => checkQos({ total_iops_sec: 2e15 })).toThrow(/2000000000000000/);
});

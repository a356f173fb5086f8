import { describe, expect, test } from 'vitest';
import { diskRequest } from '../../src/cli/commands/vm.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import { aliasOf, diskOn, hasVirtioScsi, targetsOf } from '../../src/libvirt/domain.ts';
import { parseEventLine } from '../../src/libvirt/event-line.ts';
import { refuseOld, virshWords } from '../../src/libvirt/virsh.ts';
import { mustBeNetworkDisk } from '../../src/vm/attach.ts';
import { KeyedSerial } from '../../src/vm/keyed-serial.ts';
import { freeTarget, mustBeFree } from '../../src/vm/targets.ts';

describe('events of virsh', () => {
  test('name the device that a guest got, let go of, or kept', () => {
    const line = (type: string) => `event '${type}' for domain 'web 1': virtio-disk3`;
    for (const type of ['device-added', 'device-removed', 'device-removal-failed'] as const) {
      expect(parseEventLine(line(type))).toEqual({ type, domain: 'web 1', alias: 'virtio-disk3' });
    }
  });

  test('tell what became of a domain, whatever its name', () => {
    expect(parseEventLine("event 'lifecycle' for domain 'it's me': Suspended I/O Error")).toEqual({
      type: 'lifecycle',
      domain: "it's me",
      event: 'Suspended',
      detail: 'I/O Error',
    });
  });

  test('tell of an I/O error once, with its reason', () => {
    const base = { type: 'io-error', domain: 'web1', alias: 'virtio-disk0', action: 'pause' };
    const at = (path: string, reason: string) =>
      `event 'io-error-reason' for domain 'web1': ${path} (virtio-disk0) pause due to ${reason}`;
    expect(parseEventLine(at('/dev/sdb', 'enospc'))).toEqual({
      ...base,
      path: '/dev/sdb',
      reason: 'enospc',
    });
    expect(parseEventLine(at('', ''))).toEqual({ ...base, path: '', reason: '' });
    const twin = "event 'io-error' for domain 'web1':  (virtio-disk0) pause";
    expect(parseEventLine(twin)).toBeUndefined();
  });

  test('are passed over where nobody needs them', () => {
    expect(parseEventLine("event 'rtc-change' for domain 'web1': 0")).toBeUndefined();
    expect(parseEventLine('events received: 9')).toBeUndefined();
  });
});

describe('virsh', () => {
  test('is quoted without its decoration', () => {
    const said = "error: Failed to attach device\nerror: internal error: disk 'vda' exists\n\n";
    expect(virshWords(said)).toBe("Failed to attach device: internal error: disk 'vda' exists");
  });

  test.each([
    ['Using library: libvirt 9.0.0\nRunning against daemon: 11.3.0', 'virsh is 9.0.0'],
    ['Using library: libvirt 11.3.0\nRunning against daemon: 9.10.2', 'libvirtd is 9.10.2'],
  ])('that is too old, or whose daemon is, is refused', (versions, message) => {
    expect(() => refuseOld(versions)).toThrow(message);
  });

  test('that is new enough is not', () => {
    expect(() =>
      refuseOld('Using library: libvirt 11.3.0\nRunning against daemon: 10.0.0'),
    ).not.toThrow();
  });
});

describe('names of disks', () => {
  test('are the first that are free on their bus', () => {
    expect(freeTarget([], 'virtio')).toBe('vda');
    expect(freeTarget(['vda', 'sda', 'vdc'], 'virtio')).toBe('vdb');
    expect(freeTarget(['sda'], 'scsi')).toBe('sdb');
    expect(freeTarget(['sda'], 'usb')).toBe('sdb');
    expect(freeTarget([], 'ide')).toBe('hda');
  });

  test('go on after z as libvirt counts', () => {
    const letters = [...'abcdefghijklmnopqrstuvwxyz'];
    const taken = letters.map((letter) => `vd${letter}`);
    expect(freeTarget(taken, 'virtio')).toBe('vdaa');
    const more = letters.map((letter) => `vda${letter}`);
    expect(freeTarget([...taken, ...more], 'virtio')).toBe('vdba');
  });

  test('that are taken are refused', () => {
    expect(() => mustBeFree('vda', ['vda'], 'web1')).toThrow("domain 'web1' has another disk vda");
    expect(() => mustBeFree('vdb', ['vda'], 'web1')).not.toThrow();
  });
});

describe('a domain', () => {
  const id = '11111111-2222-4333-8444-555555555555';
  const source = { type: 'network', socket: '/run/a.sock', export: 'session' } as const;
  const disk = diskXml({ source, serial: id, target: 'vdb', bus: 'virtio' }).replace(
    '</disk>',
    "<alias name='ua-mine'/></disk>",
  );
  const cdrom = `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><serial>${id}</serial></disk>`;
  const xml = `<domain id='1'><name>web1</name><devices>${cdrom}${disk}
    <controller type='scsi' index='0' model='lsilogic'/></devices></domain>`;

  test('has the disk of a volume by its serial number, if it is on an attachment', () => {
    expect(diskOn(xml, id)).toMatchObject({ target: 'vdb', source });
    expect(diskOn(xml, 'another')).toBeUndefined();
    expect(diskOn(null, id)).toBeUndefined();
    expect(aliasOf(xml, 'vdb')).toBe('ua-mine');
    expect(targetsOf(xml)).toEqual(['sda', 'vdb']);
  });

  test('keeps a disk that is on the block device of a volume', () => {
    const volume = { id, name: 'db1' };
    const block = diskXml({
      ...{ source: { type: 'block', path: '/dev/db1' }, serial: id, target: 'vdc', bus: 'virtio' },
    });
    const other = `<domain><name>web1</name><devices>${block}</devices></domain>`;
    const has = (live: string | null, config: string | null) => () =>
      mustBeNetworkDisk({ name: 'web1', live, config }, volume);
    expect(has(xml, xml)).not.toThrow();
    expect(has(null, null)).not.toThrow();
    for (const domain of [has(null, other), has(other, null), has(xml, other)]) {
      expect(domain).toThrow("disk vdc of 'web1' is volume db1 as block device /dev/db1");
    }
  });

  test('has virtio SCSI disks only with such a controller', () => {
    expect(hasVirtioScsi(xml)).toBe(false);
    expect(hasVirtioScsi(xml.replace('lsilogic', 'virtio-scsi'))).toBe(true);
  });
});

test('work of one key is done one after another, of two side by side, also after failures', async () => {
  const serial = new KeyedSerial();
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const work = [
    serial.run('a', async () => {
      await first.promise;
      order.push('a1');
      throw new Error('failed');
    }),
    serial.run('a', async () => order.push('a2')),
    serial.run('b', async () => order.push('b')),
  ];
  await work[2];
  first.resolve();
  await Promise.allSettled(work);
  expect(order).toEqual(['b', 'a1', 'a2']);
});

test('wishes for a disk on the command line are checked before anything is asked', () => {
  expect(diskRequest({})).toEqual({});
  expect(diskRequest({ bus: 'scsi', bootOrder: '2', readOnly: true, target: 'sdb' })).toEqual({
    bus: 'scsi',
    bootOrder: 2,
    readOnly: true,
    target: 'sdb',
  });
  expect(() => diskRequest({ bus: 'nvme' })).toThrow('there is no bus "nvme"');
  for (const bootOrder of ['0', '-1', '1.5', 'first', '']) {
    expect(() => diskRequest({ bootOrder })).toThrow('boot order');
  }
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Connector } from '../../src/connector/connector.ts';
import { isHyperscaleError } from '../../src/errors.ts';
import { parseConnectionInfo, parseDiskInfo } from '../../src/libvirt/connection-info.ts';
import { domainDisks } from '../../src/libvirt/domain-xml.ts';
import { HyperscaleVolumeDriver } from '../../src/libvirt/driver.ts';
import { VolumeDriverRegistry, volumeDrivers } from '../../src/libvirt/registry.ts';
import { attribute, child, parseXml, textOf } from '../../src/libvirt/xml.ts';

const uuid = '8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';
const type = 'veritas_hyperscale';
const legacy = {
  driver_volume_type: type,
  serial: uuid,
  data: { export: 'hyperscale-sv:/hyperscale', name: `{${uuid}}` },
};
const diskInfo = { dev: 'vda', bus: 'virtio', type: 'disk' };
const connected = (data: object, more: object = {}) => ({
  driver_volume_type: type,
  ...more,
  data: { volume: 'db1', socket: '/run/h/attach/v.sock', session: 's1', ...data },
});

/** Its connector is not called. */
const driver = new HyperscaleVolumeDriver(new Connector());
const disk = (info: unknown, how: object = diskInfo) => {
  const xml = driver.getConfig(info, how);
  const [node] = parseXml(xml);
  const [found] = domainDisks(`<domain><devices>${xml}</devices></domain>`);
  return { node: node!, found };
};

test('both types have the driver; another type is refused naming them', () => {
  const drivers = volumeDrivers();
  expect(drivers.types()).toEqual(['veritas_hyperscale', 'hyperscale']);
  expect(drivers.driver('hyperscale')).toBe(drivers.driverFor(legacy));
  expect(() => drivers.driver('rbd')).toThrow(/no driver for volume type "rbd"/);
  try {
    drivers.driverFor({ driver_volume_type: '__proto__' });
  } catch (error) {
    expect(error).toMatchObject({ hint: 'Known types: veritas_hyperscale, hyperscale.' });
  }
  expect(() => new VolumeDriverRegistry().register('a', driver).register('a', driver)).toThrow(
    /has a driver already/,
  );
});

test('a connected volume is an NBD disk behind its socket', () => {
  const { node, found } = disk(connected({}, { serial: uuid }), { ...diskInfo, boot_index: '1' });
  expect(found).toEqual({
    ...{ target: 'vda', bus: 'virtio', serial: uuid },
    source: { type: 'network', socket: '/run/h/attach/v.sock', export: 's1' },
  });
  expect(attribute(child(node, 'boot'), 'order')).toBe('1');
  expect(child(node, 'shareable')).toBeUndefined();
});

test('a volume of the original product is the block device that its drivers expect', () => {
  const path = '/dev/8ee71c33-dcd0-4267-8f2b-e0742ec';
  const info = { ...legacy, data: { ...legacy.data, device_path: path } };
  expect(disk(info).found).toMatchObject({ serial: uuid, source: { type: 'block', path } });
  const other = { ...legacy, data: { ...legacy.data, device_path: '/dev/sda' } };
  expect(() => disk(other)).toThrow(/"\/dev\/sda", which is not the device of this volume/);
});

test('a block device has the name that the connection says, or one of its own', () => {
  const info = (data: object) => parseConnectionInfo({ driver_volume_type: type, data });
  const access = (data: object) => info({ volume: 'db1', mode: 'block', ...data }).wanted.access;
  expect(access({})).toEqual({ by: 'block', device: 'hyperscale-db1' });
  expect(access({ name: `volume-${uuid}` })).toEqual({
    by: 'block',
    device: 'olume-8ee71c33-dcd0-4267-8f2b-e',
  });
  expect(info({ name: uuid })).toMatchObject({
    wanted: { volume: `volume-${uuid}`, access: { by: 'legacy' } },
    serial: uuid,
  });
});

test('limits, access mode and sharing reach the disk', () => {
  const qos_specs = { total_iops_sec: '500', read_bytes_sec: 1000, minIOPS: '7' };
  const info = connected({ qos_specs, access_mode: 'ro' }, { serial: uuid, multiattach: true });
  const { node } = disk(info);
  const tune = child(node, 'iotune')!;
  expect(textOf(child(tune, 'total_iops_sec'))).toBe('500');
  expect(textOf(child(tune, 'read_bytes_sec'))).toBe('1000');
  expect(child(tune, 'minIOPS')).toBeUndefined();
  expect(child(node, 'readonly')).toBeDefined();
  expect(child(node, 'shareable')).toBeDefined();
});

test('a volume that was not connected has no disk', () => {
  expect(() => disk(legacy)).toThrow(/is not connected/);
  expect(() => disk({ driver_volume_type: type, data: { volume: 'db1' } })).toThrow(
    /volume db1 is not connected/,
  );
});

test('malformed connection info is refused by field', () => {
  const data = (fields: object) => ({ driver_volume_type: type, data: fields });
  const refusals: [unknown, RegExp][] = [
    [null, /connection info null is not an object/],
    ['{}', /connection info "{}" is not an object/],
    [[], /is not an object/],
    [{ data: {} }, /"driver_volume_type" of the connection is missing/],
    [{ driver_volume_type: 7, data: {} }, /"driver_volume_type" of the connection is 7/],
    [{ driver_volume_type: type }, /connection data undefined is not an object/],
    [data({}), /"volume" of the connection is missing/],
    [data({ volume: '' }), /"volume" of the connection is ""/],
    [data({ volume: '../x' }), /is not a valid volume name/],
    [data({ volume: '--help' }), /is not a valid volume name/],
    [data({ volume: 'x'.repeat(64) }), /has 64 characters/],
    [data({ volume: 'x'.repeat(9999) }), /"volume" of the connection is "xxx/],
    [data({ volume: 'db1', mode: 'file' }), /"mode" of the connection is "file", not "network"/],
    [data({ name: uuid, mode: 'network' }), /"mode" of the connection is "network"/],
    [data({ name: 'xsda' }), /"name" of the connection is "xsda"/],
    [data({ name: '{xsda}' }), /"name" of the connection is "{xsda}"/],
    [data({ name: '/../../etc/passwd' }), /is not a valid volume name/],
    [data({ volume: 'db1', mode: 'block', name: 'xsda' }), /"name" of the connection is "xsda"/],
    [data({ volume: 'db1', access_mode: 'rx' }), /"access_mode" of the connection is "rx"/],
    [data({ volume: 'db1', discard: 'yes' }), /"discard" of the connection is "yes"/],
    [data({ volume: 'db1', qos_specs: [] }), /"qos_specs" of the connection \[\] is not an/],
    [data({ volume: 'db1', qos_specs: { total_iops_sec: '1e9' } }), /qos_specs.total_iops_sec/],
    [data({ volume: 'db1', socket: {}, session: 's' }), /"socket" of the connection is {}/],
  ];
  for (const [info, message] of refusals) expect(() => parseConnectionInfo(info)).toThrow(message);
  expect(() => parseDiskInfo({ bus: 'virtio' })).toThrow(/"dev" of the connection is missing/);
  expect(() => parseDiskInfo({ dev: 'vda' })).toThrow(/"bus" of the connection is missing/);
  expect(() => parseDiskInfo({ ...diskInfo, bus: 'fdc' })).toThrow(/"bus" .*"fdc"/);
  expect(() => parseDiskInfo({ ...diskInfo, type: 'cdrom' })).toThrow(/"type" .*"cdrom"/);
  expect(() => parseDiskInfo({ ...diskInfo, boot_index: 'x' })).toThrow(/"boot_index"/);
});

test('whatever is given as connection info is taken or refused, never more', () => {
  const key = fc.constantFrom('volume', 'name', 'mode', 'qos_specs', 'socket', 'device_path', 'x');
  const data = fc.dictionary(key, fc.anything());
  fc.assert(
    fc.property(data, fc.anything(), (fields, serial) => {
      try {
        parseConnectionInfo({ driver_volume_type: type, serial, data: fields });
      } catch (error) {
        if (!isHyperscaleError(error, 'bad-input', 'conflict')) throw error;
      }
    }),
  );
});

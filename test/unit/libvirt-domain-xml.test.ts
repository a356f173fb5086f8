import { expect, test } from 'vitest';
import type { DiskSource } from '../../src/libvirt/disk-xml.ts';
import { domainDisks, domainIdentity, replaceDiskSource } from '../../src/libvirt/domain-xml.ts';
import { parseXml, writeXml } from '../../src/libvirt/xml.ts';

const serial = '6b2a7c1e-96f0-4a86-8d6b-0f3f1f5c7a10';
const uuid = '0a1b2c3d-0000-4000-8000-00000000000a';

/** As `virsh dumpxml --migratable` prints it, with what people put into domains by hand. */
const domain = `<domain type='qemu' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web &amp; db</name>
  <uuid>${uuid}</uuid>
  <metadata>
    <app:owner xmlns:app="http://example.org/app" say='"true" &lt; &apos;1&apos;'><![CDATA[a <b> & c]]></app:owner>
  </metadata>
  <!-- bought by hand: <disk> & co. -->
  <memory unit='KiB'>131072</memory>
  <title>line&#10;two</title>
  <features><acpi/><hyperv mode='custom'><relaxed state='on'></relaxed></hyperv></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' error_policy='stop' discard='unmap'/>
      <!-- the root disk -->
      <source protocol='nbd' name='one' index='2'>
        <host transport='unix' socket='/run/hyperscale/attach/a.sock'/>
        <reconnect delay='60'/>
      </source>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <serial>${serial}</serial>
      <boot order='1'/>
      <alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <interface type='ethernet'><mac address='52:54:00:00:00:01'/></interface>
    <disk type='block' device='disk'>
      <source dev='/dev/sdz'/><target dev='sda' bus='scsi'/><serial>other</serial>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-set'/>
    <qemu:env name='TRUE' value='true'/>
  </qemu:commandline>
</domain>`;

/** The same text with one way to write it: attributes in double quotes, no empty pairs of tags. */
const written = (xml: string) =>
  xml
    .replaceAll(
      /([\w:-]+)='([^']*)'/g,
      (_, name, value) => `${name}="${value.replaceAll('"', '&quot;')}"`,
    )
    .replaceAll(/<(\w+)([^<>]*)><\/\1>/g, '<$1$2/>');

test('what is read is written back: comments, order, name spaces, entities, CDATA', () => {
  expect(writeXml(parseXml(domain))).toBe(written(domain));
});

test('replacing the source of a disk changes that source and nothing else', () => {
  const source: DiskSource = { type: 'network', socket: `/run/b'&.sock`, export: 'two' };
  const changed = replaceDiskSource(domain, serial, source);
  expect(changed).toBe(
    written(domain)
      .replace('name="one" index="2"', 'name="two"')
      .replace(
        '\n        <host transport="unix" socket="/run/hyperscale/attach/a.sock"/>',
        '<host transport="unix" socket="/run/b&apos;&amp;.sock"/>',
      )
      .replace(
        '\n        <reconnect delay="60"/>\n      </source>',
        '<reconnect delay="4294967295"/></source>',
      ),
  );
  expect(domainDisks(changed)[0]?.source).toEqual(source);
  expect(domainDisks(changed).slice(1)).toEqual(domainDisks(domain).slice(1));
});

test('a disk changes between socket and block device, with the I/O mode that fits', () => {
  const onBlock = replaceDiskSource(domain, serial, { type: 'block', path: '/dev/x' });
  expect(onBlock).toContain('<disk type="block" device="disk">');
  expect(onBlock).toContain('io="native"');
  expect(domainDisks(onBlock)[0]?.source).toEqual({ type: 'block', path: '/dev/x' });
  const back = replaceDiskSource(onBlock, serial, { type: 'network', socket: '/s', export: 'e' });
  expect(back).not.toContain('io="native"');
  expect(domainDisks(back)[0]?.source).toEqual({ type: 'network', socket: '/s', export: 'e' });
});

test('every disk is told with where it lies', () => {
  expect(domainDisks(domain)).toEqual([
    {
      ...{ target: 'vda', bus: 'virtio', serial },
      source: { type: 'network', socket: '/run/hyperscale/attach/a.sock', export: 'one' },
    },
    { target: 'sda', bus: 'scsi', serial: 'other', source: { type: 'block', path: '/dev/sdz' } },
    { target: 'sdb', bus: 'sata', serial: undefined, source: undefined },
  ]);
});

test('a domain says who it is', () => {
  expect(domainIdentity(domain)).toEqual({ name: 'web & db', uuid });
  expect(() => domainIdentity('<domain><name>x</name></domain>')).toThrow(/no domain and UUID/);
});

test('an unknown serial, and one that two disks have, are refused', () => {
  const source: DiskSource = { type: 'block', path: '/dev/x' };
  expect(() => replaceDiskSource(domain, 'absent', source)).toThrow(
    /no disk with the serial absent/,
  );
  const twice = domain.replace('<serial>other</serial>', `<serial>${serial}</serial>`);
  expect(() => replaceDiskSource(twice, serial, source)).toThrow(/vda and sda of the domain/);
});

test('what is not the XML of a domain is refused', () => {
  const refusals: [string, RegExp][] = [
    ['', /not well-formed/],
    [domain.slice(0, 900), /not well-formed/],
    ['<domain><devices></domain></devices>', /not well-formed/],
    ['<pool/>', /holds <pool>/],
    ['<domain/><domain/>', /holds <domain>, <domain>/],
    ['<!DOCTYPE d [<!ENTITY e SYSTEM "/etc/passwd">]><domain>&e;</domain>', /document type/],
    [`<domain>${' '.repeat(2 ** 22)}</domain>`, /4194321 characters/],
    ['<domain __proto__="1"/>', /not well-formed/],
  ];
  for (const [xml, message] of refusals) expect(() => domainDisks(xml)).toThrow(message);
});

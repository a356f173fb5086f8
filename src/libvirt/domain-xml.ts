import { basename } from 'node:path';
import { HyperscaleError } from '../errors.ts';
import { type DiskSource, ioAttribute, sourceElement } from './disk-xml.ts';
import {
  attribute,
  child,
  childrenNamed,
  childrenOf,
  nameOf,
  parseXml,
  setAttribute,
  textOf,
  writeXml,
  type XmlNode,
} from './xml.ts';

/** One disk of a domain. */
export type DomainDisk = {
  target: string;
  bus: string | undefined;
  serial: string | undefined;
  /** Undefined for what is neither NBD behind a Unix socket nor a block device. */
  source: DiskSource | undefined;
};

/** Every disk of a domain, in the order of its XML. @throws `bad-input` when it is no domain */
export function domainDisks(xml: string): DomainDisk[] {
  return disksOf(domainIn(parseXml(xml))).map((disk) => ({
    target: attribute(child(disk, 'target'), 'dev') ?? '',
    bus: attribute(child(disk, 'target'), 'bus'),
    serial: textOf(child(disk, 'serial')),
    source: sourceOf(disk),
  }));
}

/**
 * The ids by which the volume of a disk may be known: its serial number, which is ours unless another
 * program has given it its own (OpenStack's), and the name of the attachment's socket.
 */
export function volumeIdsOf({ serial, source }: DomainDisk): string[] {
  if (source === undefined) return [];
  const ids = serial === undefined ? [] : [serial];
  return source.type === 'network' ? [...ids, basename(source.socket, '.sock')] : ids;
}

/** @throws `bad-input` when the name or the UUID is missing (libvirt always writes both) */
export function domainIdentity(xml: string): { name: string; uuid: string } {
  const domain = domainIn(parseXml(xml));
  const name = textOf(child(domain, 'name'));
  const uuid = textOf(child(domain, 'uuid'));
  if (name === undefined || name === '' || uuid === undefined || uuid === '') {
    throw new HyperscaleError('bad-input', 'the domain XML names no domain and UUID', {
      hint: 'Pass what `virsh dumpxml` printed.',
    });
  }
  return { name, uuid };
}

/**
 * The same domain with another source for the disk of that serial: nothing else changes, neither
 * order, comments, nor elements of other name spaces.
 * @throws `bad-input` when it is no domain, `not-found` when it has no such disk, `conflict` when
 * it has several
 */
export function replaceDiskSource(xml: string, serial: string, source: DiskSource): string {
  const nodes = parseXml(xml);
  const domain = domainIn(nodes);
  const disks = disksOf(domain).filter((disk) => textOf(child(disk, 'serial')) === serial);
  const [disk, second] = disks;
  const values = { domain: textOf(child(domain, 'name')), serial };
  if (disk === undefined) {
    throw new HyperscaleError('not-found', `the domain has no disk with the serial ${serial}`, {
      values,
    });
  }
  if (second !== undefined) {
    const targets = disks.map((d) => attribute(child(d, 'target'), 'dev')).join(' and ');
    throw new HyperscaleError('conflict', `${targets} of the domain have the serial ${serial}`, {
      hint: 'A domain can have a volume once: take one of these disks out of it.',
      values,
    });
  }
  setSource(disk, source);
  return writeXml(nodes);
}

function setSource(disk: XmlNode, source: DiskSource): void {
  setAttribute(disk, 'type', source.type);
  const driver = child(disk, 'driver');
  if (driver !== undefined) setAttribute(driver, 'io', ioAttribute(source).io);
  const children = childrenOf(disk);
  const at = children.findIndex((node) => nameOf(node) === 'source');
  if (at === -1) children.push(sourceElement(source));
  else children[at] = sourceElement(source);
}

function sourceOf(disk: XmlNode): DiskSource | undefined {
  const source = child(disk, 'source');
  if (attribute(disk, 'type') === 'block') {
    const path = attribute(source, 'dev');
    return path === undefined ? undefined : { type: 'block', path };
  }
  if (attribute(disk, 'type') !== 'network' || attribute(source, 'protocol') !== 'nbd') {
    return undefined;
  }
  const host = source === undefined ? undefined : child(source, 'host');
  const socket = attribute(host, 'socket');
  if (attribute(host, 'transport') !== 'unix' || socket === undefined) return undefined;
  return { type: 'network', socket, export: attribute(source, 'name') ?? '' };
}

function disksOf(domain: XmlNode): XmlNode[] {
  return childrenNamed(domain, 'devices').flatMap((devices) => childrenNamed(devices, 'disk'));
}

function domainIn(nodes: XmlNode[]): XmlNode {
  const roots = nodes.filter((node) => !nameOf(node).startsWith('#') && nameOf(node) !== '?xml');
  const [domain, second] = roots;
  if (domain !== undefined && second === undefined && nameOf(domain) === 'domain') return domain;
  const found = roots.map((node) => `<${nameOf(node)}>`).join(', ') || 'nothing';
  throw new HyperscaleError('bad-input', `the XML is not that of a domain: it holds ${found}`, {
    hint: 'Pass what `virsh dumpxml` printed.',
  });
}

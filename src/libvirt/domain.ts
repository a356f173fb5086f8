/** What libvirt has of a domain, read anew each time. */
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type DomainDisk, domainDisks } from './domain-xml.ts';
import type { Virsh } from './virsh.ts';
import { attribute, child, childrenNamed, nameOf, parseXml, textOf, type XmlNode } from './xml.ts';

export type DomainName = { uuid: string; name: string };

export type Domain = DomainName & {
  /** In libvirt's words: `running`, `paused`, `shut off`, … */
  state: string;
  /** The domain as it runs, or is paused; null when it is shut off. */
  live: string | null;
  /** Its persistent definition; null when it is there only while it runs. */
  config: string | null;
};

/** All domains, or those that run. A name may be anything, so it stands last in a line. */
export async function listDomains(
  virsh: Virsh,
  which: 'all' | 'active' = 'all',
): Promise<DomainName[]> {
  const options = which === 'all' ? ['--all'] : [];
  const text = await virsh.run(['list', ...options, '--uuid', '--name']);
  return text.split('\n').flatMap((line) => {
    const [, uuid, name] = /^([0-9a-f-]{36}) +(.*\S) *$/.exec(line) ?? [];
    return uuid === undefined || name === undefined ? [] : [{ uuid, name }];
  });
}

/**
 * The domain of that name or UUID; undefined when there is none. Not by virsh, which would take a
 * name such as `3` for the number of a running domain.
 */
export async function findDomain(virsh: Virsh, wanted: string): Promise<DomainName | undefined> {
  const domains = await listDomains(virsh);
  return (
    domains.find(({ uuid }) => uuid === wanted.toLowerCase()) ??
    domains.find(({ name }) => name === wanted)
  );
}

/** @throws `not-found` when it has gone */
export async function readDomain(virsh: Virsh, uuid: string): Promise<Domain> {
  const info = await virsh.run(['dominfo', '--domain', uuid]);
  const field = (name: string): string =>
    new RegExp(`^${name}: +(.*?) *$`, 'm').exec(info)?.[1] ?? '';
  const state = field('State');
  const isActive = state !== 'shut off' && state !== 'crashed';
  return {
    uuid,
    name: field('Name'),
    state,
    live: isActive ? await virsh.run(['dumpxml', '--domain', uuid]) : null,
    config:
      field('Persistent') === 'yes'
        ? await virsh.run(['dumpxml', '--domain', uuid, '--inactive'])
        : null,
  };
}

/** Undefined when the domain is gone, as a transient one is when it stops. */
export async function domainNow(virsh: Virsh, uuid: string): Promise<Domain | undefined> {
  try {
    return await readDomain(virsh, uuid);
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) return undefined;
    throw error;
  }
}

/** A domain as it runs; null when it has gone meanwhile. */
export async function liveXml(virsh: Virsh, uuid: string): Promise<string | null> {
  try {
    return await virsh.run(['dumpxml', '--domain', uuid]);
  } catch (error) {
    if (isHyperscaleError(error, 'not-found')) return null;
    throw error;
  }
}

/** The disk of a domain that is on a volume: its serial number is the volume's id. */
export function diskOn(xml: string | null, volume: string): DomainDisk | undefined {
  if (xml === null) return undefined;
  return domainDisks(xml).find((d) => d.serial === volume && d.source !== undefined);
}

/** The names that the disks of a domain have. */
export function targetsOf(xml: string | null): string[] {
  return xml === null ? [] : domainDisks(xml).map(({ target }) => target);
}

/** libvirt's name of a device that runs, which its events have. @throws `not-found` */
export function aliasOf(live: string, target: string): string {
  const alias = attribute(child(diskNode(live, target), 'alias'), 'name');
  if (alias !== undefined) return alias;
  throw new HyperscaleError('not-found', `disk ${target} has no alias: the domain does not run`);
}

/** True when SCSI disks of the domain would be virtio ones; libvirt would add another controller. */
export function hasVirtioScsi(xml: string): boolean {
  return devicesOf(xml, 'controller').some(
    (node) => attribute(node, 'type') === 'scsi' && attribute(node, 'model') === 'virtio-scsi',
  );
}

/** The element of one disk of a domain. @throws `not-found` */
export function diskNode(xml: string, target: string): XmlNode {
  const disks = devicesOf(xml, 'disk');
  const disk = disks.find((node) => attribute(child(node, 'target'), 'dev') === target);
  if (disk !== undefined) return disk;
  const [domain] = parseXml(xml).filter((node) => nameOf(node) === 'domain');
  const name = domain === undefined ? '' : (textOf(child(domain, 'name')) ?? '');
  throw new HyperscaleError('not-found', `domain '${name}' has no disk ${target}`);
}

function devicesOf(xml: string, kind: string): XmlNode[] {
  return parseXml(xml)
    .filter((node) => nameOf(node) === 'domain')
    .flatMap((domain) => childrenNamed(domain, 'devices'))
    .flatMap((devices) => childrenNamed(devices, kind));
}

/** What moving a guest needs to know of its disks. Pure. */
import type { DiskSource } from '../libvirt/disk-xml.ts';
import { domainDisks, replaceDiskSource } from '../libvirt/domain-xml.ts';
import { attribute, child, childrenNamed, nameOf, parseXml } from '../libvirt/xml.ts';
import type { VolumeId } from '../volume/types.ts';

/** Volumes that the disks of a domain are on, each once, in the order of the disks. */
export function volumesOf(xml: string, isVolume: (id: string) => boolean): VolumeId[] {
  const serials = domainDisks(xml).flatMap(({ serial, source }) =>
    serial !== undefined && source !== undefined && isVolume(serial) ? [serial] : [],
  );
  return [...new Set(serials)];
}

/** Disks whose data another host cannot reach, as sentences: `vdb is /var/lib/a.qcow2 (file)`. */
export function localDisks(xml: string, volumes: readonly VolumeId[]): string[] {
  const [domain] = parseXml(xml).filter((node) => nameOf(node) === 'domain');
  if (domain === undefined) return [];
  const disks = childrenNamed(domain, 'devices').flatMap((d) => childrenNamed(d, 'disk'));
  const known = domainDisks(xml);
  return disks.flatMap((disk, at) => {
    const serial = known[at]?.serial;
    const source = child(disk, 'source');
    const ours = known[at]?.source !== undefined && serial !== undefined;
    if (source === undefined || (ours && volumes.includes(serial))) return [];
    const type = attribute(disk, 'type') ?? 'file';
    const isUnix = attribute(child(source, 'host'), 'transport') === 'unix';
    if (type === 'network' && !isUnix) return [];
    const where = ['file', 'dev', 'dir', 'volume', 'path', 'name'].map((a) => attribute(source, a));
    const place = where.find((value) => value !== undefined) ?? 'a disk of this host';
    return [`${attribute(child(disk, 'target'), 'dev') ?? '?'} is ${place} (${type})`];
  });
}

/** The domain with its volumes reached by the endpoints of another host. */
export function withSources(xml: string, sources: ReadonlyMap<VolumeId, DiskSource>): string {
  const serials = new Set(domainDisks(xml).map(({ serial }) => serial));
  return [...sources]
    .filter(([volume]) => serials.has(volume))
    .reduce((text, [volume, source]) => replaceDiskSource(text, volume, source), xml);
}

/** True when every volume of the domain is reached by just these sources. */
export function hasSources(xml: string, sources: ReadonlyMap<VolumeId, DiskSource>): boolean {
  return domainDisks(xml).every(({ serial, source }) => {
    const wanted = serial === undefined ? undefined : sources.get(serial);
    return wanted === undefined || JSON.stringify(wanted) === JSON.stringify(source);
  });
}

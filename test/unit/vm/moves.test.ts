import { describe, expect, test } from 'vitest';
import { isLeisurely, jobsFor } from '../../../src/cluster/jobs.ts';
import { diskXml } from '../../../src/libvirt/disk-xml.ts';
import { hasSources, localDisks, volumesOf, withSources } from '../../../src/vm/disks.ts';
import { migrationEnd } from '../../../src/vm/migration-end.ts';
import { concerned, leastLoaded } from '../../../src/vm/place.ts';
import { claimed, noted, type VmState } from '../../../src/vm/record.ts';
import { policyNamed } from '../../../src/volume/policy.ts';
import type { Replica, Volume } from '../../../src/volume/types.ts';
import { nodeUp, replica, sealed, volumeRecord } from '../api-fake-service.ts';

const volume = '5f0c1f9e-2222-4222-8222-222222222222';
const source = (session: string) =>
  ({ type: 'network', socket: '/run/hyperscale/v.sock', export: session }) as const;
const ours = diskXml({ source: source('s1'), serial: volume, target: 'vda', bus: 'virtio' });

function domain(...disks: string[]): string {
  return `<domain type='qemu'><name>web</name><uuid>u</uuid><devices>${disks.join('')}</devices></domain>`;
}

describe('the end of a migration', () => {
  test.each([
    // Source, destination, what is known.
    ['outgoing', 'incoming', 'wait'],
    ['outgoing', 'active', 'moved'],
    ['active', 'absent', 'stayed'],
    ['active', 'incoming', 'stayed'],
    ['active', 'unknown', 'stayed'],
    ['active', 'down', 'stayed'],
    ['absent', 'active', 'moved'],
    ['absent', 'unknown', 'wait'],
    ['absent', 'incoming', 'wait'],
    // It ran at the destination, which died since, or where it has been shut off since.
    ['absent', 'down', 'moved'],
    ['absent', 'defined', 'moved'],
    // It was shut off at the source in the middle.
    ['defined', 'absent', 'stayed'],
    ['defined', 'down', 'stayed'],
    // The source died in the middle.
    ['down', 'active', 'moved'],
    ['down', 'absent', 'stayed'],
    ['unknown', 'absent', 'wait'],
  ] as const)('%s at the source and %s at the destination: %s', (here, there, end) => {
    expect(migrationEnd(here, there)).toBe(end);
  });
});

describe('the disks of a domain', () => {
  const file = `<disk type='file' device='disk'><source file='/var/a&amp;b.img'/><target dev='vdb'/></disk>`;
  const empty = `<disk type='file' device='cdrom'><target dev='sda'/></disk>`;
  const ceph = `<disk type='network' device='disk'><source protocol='rbd' name='p/i'><host name='m' port='6789'/></source><target dev='vdc'/></disk>`;

  test('volumes are known by their serial, and each counts once', () => {
    expect(volumesOf(domain(ours, file, ceph), (id) => id === volume)).toEqual([volume]);
    expect(volumesOf(domain(ours), () => false)).toEqual([]);
  });

  test('what another host cannot reach is named', () => {
    expect(localDisks(domain(ours, empty, ceph), [volume])).toEqual([]);
    expect(localDisks(domain(ours, file), [volume])).toEqual(['vdb is /var/a&b.img (file)']);
    // An NBD socket that is none of ours.
    expect(localDisks(domain(ours), [])).toEqual([expect.stringContaining('vda is')]);
  });

  test('sources are exchanged for those of the other host', () => {
    const there = new Map([[volume, source('s2')]]);
    const moved = withSources(domain(ours, file), there);
    expect(hasSources(domain(ours, file), there)).toBe(false);
    expect(hasSources(moved, there)).toBe(true);
    // A definition need not have every disk that was attached since.
    expect(withSources(domain(file), there)).toBe(domain(file));
  });
});

describe('where the guests of a dead node go', () => {
  const guest = (name: string, node: string, presence: 'active' | 'defined' = 'active'): VmState =>
    noted(
      undefined,
      { uuid: name, name, presence, xml: '', liveXml: null, volumes: [volume] },
      node,
    ) as VmState;

  test('to the node with the fewest that run', () => {
    const all = [guest('a', 'n2'), guest('b', 'n3'), guest('c', 'n3'), guest('d', 'n4', 'defined')];
    expect(leastLoaded(['n2', 'n3'], all)).toBe('n2');
    expect(leastLoaded(['n2', 'n3', 'n4'], all)).toBe('n4');
    expect(() => leastLoaded([], all)).toThrow(/no live node/);
  });

  test('those that are on their way from it are not forgotten', () => {
    const now = '2026-01-01T00:00:00.000Z';
    const onTheWay = claimed(guest('a', 'n1'), 'n2', now);
    const all = [onTheWay, guest('b', 'n1'), guest('c', 'n2')];
    expect(concerned(all, 'n1').map((r) => r.name)).toEqual(['a', 'b']);
  });
});

describe('copies that follow a guest', () => {
  const volumeWith = (replicas: Replica[]) =>
    volumeRecord({
      policy: policyNamed('Silver'),
      tail: { phase: 'idle' },
      chain: [{ ...sealed(1, replicas), manifest: 'root' }],
    });
  const copyOnN3 = (volume: Volume, up: string[]) => {
    const nodes = up.map(nodeUp);
    const [job] = jobsFor(volume, { node: 'n3', pool: 'pool-n3' }, nodes);
    return job === undefined ? undefined : isLeisurely(volume, job, nodes);
  };

  test('can wait when there are enough without them', () => {
    const volume = volumeWith([
      replica('n1', 'clean'),
      replica('n2', 'clean'),
      replica('n3', 'copying'),
    ]);
    expect(copyOnN3(volume, ['n1', 'n2', 'n3'])).toBe(true);
    // One of them is away: it is needed now.
    expect(copyOnN3(volume, ['n1', 'n3'])).toBe(false);
  });

  test('cannot wait when a copy is missing', () => {
    const volume = volumeWith([replica('n1', 'clean'), replica('n3', 'copying')]);
    expect(copyOnN3(volume, ['n1', 'n2', 'n3'])).toBe(false);
  });
});

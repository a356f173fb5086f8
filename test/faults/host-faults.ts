/** Faults of whole hosts: their power, their network, their disk. */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DiskFaults } from '../../lab/disk-server.ts';
import type { FaultKind, Strike } from './fault.ts';
import { type Stage, storeHost } from './stage.ts';

const run = promisify(execFile);

const powerCut: Strike = async ({ stage, hosts, random }) => {
  const seeds = hosts.map(() => Math.floor(random() * 2 ** 32));
  await Promise.all(hosts.map((host, i) => stage.powerCut(host, seeds[i] ?? 0)));
  return async () => {
    await Promise.all(hosts.map((host) => stage.boot(host)));
  };
};

/** What a disk does wrong for a while. */
function badDisk(faults: Partial<DiskFaults>): Strike {
  return async ({ stage, hosts: [host = ''], random }) => {
    await stage.disk(host).setFaults(faults);
    return async () => {
      const disk = stage.disk(host);
      await disk.setFaults({});
      // A journal that could not be written may be given up only at its next commit.
      await run('sync', ['-f', disk.mountPoint]).catch(() => undefined);
      if (isReadOnly(disk.mountPoint)) await restart(stage, host, random);
    };
  };
}

/** ext4 goes read-only when its journal cannot be written: the disk is exchanged, the host booted. */
function isReadOnly(mountPoint: string): boolean {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  const options = mounts.map((line) => line.split(' ')).find(([, at]) => at === mountPoint)?.[3];
  return options?.split(',').some((option) => option === 'ro' || option === 'emergency_ro') ?? true;
}

async function restart(stage: Stage, host: string, random: () => number): Promise<void> {
  await stage.powerCut(host, Math.floor(random() * 2 ** 32));
  await stage.boot(host);
}

/** What is left of a pool that is called full. */
const leftBytes = 64 * 1024;

const fullPool: Strike = async ({ stage, hosts: [host = ''] }) => {
  const { mountPoint } = stage.disk(host);
  const ballast = join(mountPoint, 'ballast');
  for (let size = 0, attempt = 0; attempt < 20; attempt += 1) {
    const { bavail, bsize } = statfsSync(mountPoint);
    const more = bavail * bsize - leftBytes;
    if (more <= 0) break;
    // Others take and give back space at the same time.
    const filled = await run('fallocate', ['-o', `${size}`, '-l', `${more}`, ballast]).then(
      () => true,
      () => false,
    );
    if (filled) size += more;
  }
  return async () => rmSync(ballast, { force: true });
};

export const hostFaults: readonly FaultKind[] = [
  {
    kind: 'power-cut',
    weight: 4,
    scope: 'node',
    longestMs: 7_000,
    exclusive: true,
    strike: powerCut,
  },
  {
    kind: 'power-cut-two',
    weight: 2,
    scope: 'two',
    longestMs: 5_000,
    exclusive: true,
    strike: powerCut,
  },
  {
    kind: 'power-cut-all',
    weight: 2,
    scope: 'all',
    longestMs: 3_000,
    exclusive: true,
    strike: powerCut,
  },
  {
    kind: 'cut',
    weight: 4,
    scope: 'node',
    longestMs: 9_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [host = ''] }) => {
      await network.cut(host, 'silent');
      return () => network.heal(host);
    },
  },
  {
    kind: 'unplug',
    weight: 1,
    scope: 'node',
    longestMs: 9_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [host = ''] }) => {
      await network.cut(host, 'unplugged');
      return () => network.heal(host);
    },
  },
  {
    kind: 'cut-between',
    weight: 3,
    scope: 'pair',
    longestMs: 9_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [a = '', b = ''] }) => {
      await network.cutBetween(a, b);
      return () => network.healBetween(a, b);
    },
  },
  {
    kind: 'cut-one-way',
    weight: 3,
    scope: 'pair',
    longestMs: 9_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [from = '', to = ''] }) => {
      await network.cutOneWay(from, to);
      return () => network.healOneWay(from, to);
    },
  },
  {
    kind: 'cut-from-store',
    weight: 3,
    scope: 'node',
    longestMs: 9_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [host = ''] }) => {
      await network.cutBetween(host, storeHost);
      return () => network.healBetween(host, storeHost);
    },
  },
  {
    kind: 'loss',
    weight: 2,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [host = ''], random }) => {
      await network.lose(host, 5 + Math.floor(random() * 35));
      return () => network.loseNothing(host);
    },
  },
  {
    kind: 'slow-link',
    weight: 2,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    strike: async ({ stage: { network }, hosts: [host = ''], random }) => {
      await network.slow(host, 500 + Math.floor(random() * 3_500));
      return () => network.fast(host);
    },
  },
  {
    kind: 'slow-disk',
    weight: 2,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    strike: badDisk({ delayMs: 40 }),
  },
  {
    kind: 'hanging-disk',
    weight: 2,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    strike: badDisk({ delayMs: 3_000 }),
  },
  {
    kind: 'disk-errors',
    weight: 3,
    scope: 'node',
    longestMs: 4_000,
    exclusive: true,
    mayFailRequests: true,
    strike: badDisk({ errors: ['write', 'flush'] }),
  },
  {
    kind: 'unreadable-disk',
    weight: 2,
    scope: 'node',
    longestMs: 4_000,
    exclusive: true,
    mayFailRequests: true,
    strike: badDisk({ errors: ['read'] }),
  },
  {
    kind: 'full-pool',
    weight: 2,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    mayFailRequests: true,
    strike: fullPool,
  },
];

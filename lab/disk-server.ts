/**
 * `disk-server.ts IMAGE FILE`: serves IMAGE as FILE, a disk with a volatile write cache and with
 * faults on command. A child of `lab/disk.ts`, which talks to it over the IPC channel; it ends when
 * its parent is gone, however that ended, and takes down what stands on it.
 */
import { spawnSync } from 'node:child_process';
import { fstatSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FuseFile } from './fuse-file.ts';
import { randomOf } from './random.ts';
import { VolatileDisk } from './volatile-disk.ts';

export type DiskFaults = {
  /** Kinds of requests that are answered with EIO. */
  errors: ('read' | 'write' | 'flush')[];
  /** How much later than else every request is answered. */
  delayMs: number;
};

export type DiskCommand =
  | { command: 'faults'; faults: DiskFaults }
  | { command: 'power-cut'; seed: number; survival: number }
  | { command: 'power-on' };

/** `lost`: blocks that the power cut took. */
export type DiskAnswer = { lost: number };

const [image = '', file = ''] = process.argv.slice(2);
const descriptor = openSync(image, 'r+');
const disk = new VolatileDisk(descriptor);
let faults: DiskFaults = { errors: [], delayMs: 0 };

async function request<T>(kind: DiskFaults['errors'][number], work: () => T): Promise<T> {
  if (faults.delayMs > 0) await sleep(faults.delayMs);
  if (faults.errors.includes(kind)) throw Object.assign(new Error('injected'), { code: 'EIO' });
  return work();
}

const served = new FuseFile(file, {
  sizeBytes: fstatSync(descriptor).size,
  read: (offset, length) => request('read', () => disk.read(offset, length)),
  write: (offset, content) => request('write', () => disk.write(offset, content)),
  flush: () => request('flush', () => disk.flush()),
});

function perform(command: DiskCommand): DiskAnswer {
  switch (command.command) {
    case 'faults':
      faults = command.faults;
      return { lost: 0 };
    case 'power-cut': {
      faults = { errors: [], delayMs: 0 };
      const random = randomOf(command.seed);
      return { lost: disk.powerCut(() => random() < command.survival) };
    }
    case 'power-on':
      disk.powerOn();
      return { lost: 0 };
  }
}

process.on('message', (command: DiskCommand) => process.send?.(perform(command)));
process.on('disconnect', () => {
  faults = { errors: [], delayMs: 0 };
  // In a process of its own: the file system below needs this one to answer while it goes.
  const script =
    'for d in $(losetup -n -O NAME -j "$0"); do umount -lA "$d"; losetup -d "$d"; done';
  const other = `(${script}; umount -l "$0") >/dev/null 2>&1 &`;
  spawnSync('setsid', ['sh', '-c', other, file], { stdio: 'ignore' });
});

await served.ended;
process.exit(0);

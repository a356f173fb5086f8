/** File systems that a lab has mounted below its directory, and how they are taken away. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

type Mount = { source: string; point: string };

/** What is mounted, newest first. */
function mounts(): Mount[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .map(([source = '', point = '']) => ({ source, point }))
    .reverse();
}

/** Loop devices over files below a directory, whether anything is mounted on them or not. */
function loopsBelow(directory: string): string[] {
  return readdirSync('/sys/block').flatMap((name) => {
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8');
      return file.startsWith(`${directory}/`) ? [`/dev/${name}`] : [];
    } catch {
      return []; // no loop device, or a free one
    }
  });
}

/**
 * Unmounts all that is mounted below a directory or on a loop device over a file below it, and frees
 * the loop devices; blocks. Nothing may use it any more.
 */
export function unmountBelow(directory: string): void {
  // Before the file systems of their files are out of sight.
  const loops = new Set(loopsBelow(directory));
  for (const { source, point } of mounts()) {
    if (!point.startsWith(`${directory}/`) && !loops.has(source)) continue;
    execFileSync('umount', ['-l', point], { stdio: 'ignore' });
    if (source.startsWith('/dev/loop')) loops.add(source);
  }
  // One that is free by now is no error.
  for (const loop of loops) spawnSync('losetup', ['-d', loop], { stdio: 'ignore' });
}

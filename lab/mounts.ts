/** File systems that a lab has mounted below its directory, and how they are taken away. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

type Mount = { source: string; point: string };

/** What is mounted below a directory, newest first. */
function mountsBelow(directory: string): Mount[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .map(([source = '', point = '']) => ({ source, point }))
    .filter(({ point }) => point.startsWith(`${directory}/`))
    .reverse();
}

/**
 * Unmounts all that is mounted below a directory, and frees the loop devices; blocks. Nothing may
 * use it any more.
 */
export function unmountBelow(directory: string): void {
  for (const { source, point } of mountsBelow(directory)) {
    execFileSync('umount', ['-l', point], { stdio: 'ignore' });
    if (source.startsWith('/dev/loop')) {
      execFileSync('losetup', ['-d', source], { stdio: 'ignore' });
    }
  }
}

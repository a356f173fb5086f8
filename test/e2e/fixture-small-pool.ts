/** A pool that is soon full: a small file system of its own, in place of a node's directory. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onProcessEnd } from '../../lab/process-end.ts';
import type { TestCluster } from './fixture.ts';

/**
 * Gives a node that was not started yet such a pool, in memory; it goes with the cluster.
 * @returns where it is mounted
 */
export function giveSmallPool(cluster: TestCluster, node: string, mebibytes: number): string {
  const pool = mkdtempSync(join(tmpdir(), 'hs-pool-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', pool]);
  const unmount = () => {
    execFileSync('umount', ['-l', pool]);
    rmdirSync(pool);
  };
  const forget = onProcessEnd(unmount);
  cluster.atEnd(() => {
    forget();
    unmount();
  });
  const { poolDirectory } = cluster.node(node);
  rmdirSync(poolDirectory);
  symlinkSync(pool, poolDirectory);
  return pool;
}

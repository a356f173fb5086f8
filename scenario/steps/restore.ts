import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { EndpointAnswer } from '../../src/api/schemas.ts';
import { during } from '../display.ts';
import { type Scene, step, volumeName } from '../scene.ts';
import { secondHost } from './lose-host.ts';
import { backupTarget } from './start-nodes.ts';

const run = promisify(execFile);
const name = 'guest-restored';
/** The node that restores; the volume is used on another one. */
const restorer = 'n1';

/** Backs the guest's volume up, and uses a volume from the backup before its content is there. */
export async function restoreBackup(scene: Scene): Promise<void> {
  const { cluster, report } = scene;
  const host = cluster.node(secondHost);
  const other = cluster.node(restorer);
  const nodes = [restorer, secondHost];
  await step(scene, "Back the guest's volume up to a directory", nodes, async (line) => {
    await mkdir(backupTarget.directory(cluster.directory));
    const { name: target } = backupTarget;
    await host.hscli('backup', 'init', target);
    const made = host.hscli('backup', 'create', volumeName, '--target', target, '--name', 'demo');
    await during(line, () => 'it is being written', made);
  });
  await step(
    scene,
    `Restore it on ${restorer}, and use it on ${secondHost} at once`,
    nodes,
    async (line) => {
      const began = performance.now();
      const from = [backupTarget.name, '--volume', volumeName];
      await other.hscli('backup', 'restore', ...from, '--name', name, '--stream');
      const copy = await host.hscli<EndpointAnswer>('volume', 'attach', name);
      const usableMs = Math.round(performance.now() - began);
      const original = await host.hscli<EndpointAnswer>('volume', 'attach', volumeName);
      const args = ['compare', '--image-opts', blocksOf(original), blocksOf(copy)];
      const said = await run('qemu-img', args).then(
        ({ stdout }) => stdout.trim(),
        (error: { stdout?: string; message: string }) =>
          `${error.stdout ?? ''}${error.message}`.trim(),
      );
      const same = said.includes('identical');
      report.check('a volume from a backup holds what was backed up', same, said);
      line.outcome(`attached ${usableMs} ms after hscli was asked to restore it`);
    },
  );
  await step(
    scene,
    'Wait until all of it is in the cluster, and delete it',
    nodes,
    async (line) => {
      const whole = ({ state }: { state: string }) => state === 'healthy';
      await during(
        line,
        () => 'its content follows',
        cluster.waitForVolume<{ state: string }>(name, whole, 30_000, secondHost),
      );
      for (const volume of [name, volumeName]) await host.hscli('volume', 'detach', volume);
      await host.hscli('volume', 'delete', name, '--yes');
    },
  );
}

/** As a guest reads it: it waits while heads are exchanged. */
function blocksOf({ socket, session }: EndpointAnswer): string {
  return `driver=nbd,server.type=unix,server.path=${socket},export=${session},reconnect-delay=60`;
}

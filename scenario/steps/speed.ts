import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FioOptions, startFio } from '../../lab/fio.ts';
import type { EndpointAnswer, VolumeAnswer } from '../../src/api/schemas.ts';
import { volumeDirectory } from '../../src/engine/layer-files.ts';
import { during } from '../display.ts';
import type { Speed } from '../report.ts';
import { type Scene, step, workDirectory } from '../scene.ts';
import { secondHost } from './lose-host.ts';

const name = 'speed';
const sizeBytes = 256 * 1024 ** 2;
const deleteTimeoutMs = 20_000;

type Load = Pick<FioOptions, 'rw' | 'bs' | 'iodepth' | 'runtimeSeconds'> & { text: string };
const loads: Load[] = [
  { text: '1 MiB writes, depth 4', rw: 'write', bs: 1 << 20, iodepth: 4, runtimeSeconds: 3 },
  {
    text: '4 KiB random writes, depth 32',
    rw: 'randwrite',
    bs: 4096,
    iodepth: 32,
    runtimeSeconds: 3,
  },
  {
    text: '4 KiB random reads, depth 32',
    rw: 'randread',
    bs: 4096,
    iodepth: 32,
    runtimeSeconds: 3,
  },
];

/**
 * A short fio on a Gold volume of its own: the guest's stays as the guest left it. It shows the
 * order of magnitude; `npm run bench` measures.
 */
export async function measureSpeed(scene: Scene): Promise<void> {
  const { cluster, report } = scene;
  const host = cluster.node(secondHost);
  const nodes = cluster.nodes.map((node) => node.name);
  await step(scene, 'Run fio on another Gold volume', nodes, async (line) => {
    const body = { name, sizeBytes, policy: 'Gold' };
    const { id } = await host.api.call<VolumeAnswer>('POST', '/v1/volumes', body);
    const attachments = `/v1/volumes/${name}/attachments`;
    const { uri } = await host.api.call<EndpointAnswer>('POST', attachments, {});
    const directory = workDirectory(cluster, 'fio');
    const runs: Speed[] = [];
    for (const { text, ...load } of loads) {
      const fio = startFio({ uri, directory, sizeBytes, verify: false, host, ...load });
      const result = await during(line, () => text, fio.wait());
      const figures = load.rw === 'randread' ? result.read : result.write;
      const { iops, bytesPerSecond, p99Ms } = figures;
      runs.push({ name: text, iops, megabytesPerSecond: bytesPerSecond / 1e6, p99Ms });
    }
    const what =
      `fio through NBD, 3 copies, ${cluster.nodes.length} nodes that share ` +
      `${report.machine.cores} cores and one disk`;
    report.figures.speed = { what, runs };
    await host.api.call('DELETE', `${attachments}/${secondHost}`);
    await host.api.call('DELETE', `/v1/volumes/${name}`);
    const left = () =>
      cluster.nodes.filter((node) => existsSync(volumeDirectory(node.poolDirectory, id)));
    const deadline = performance.now() + deleteTimeoutMs;
    while (left().length > 0 && performance.now() < deadline) {
      line.now(
        `deleting it on ${left()
          .map((node) => node.name)
          .join(', ')}`,
      );
      await sleep(100);
    }
    const rest = left().map((node) => node.name);
    report.check(
      'a deleted volume leaves no file in any pool',
      rest.length === 0,
      rest.length === 0 ? 'gone from all nodes' : `left on ${rest.join(', ')}`,
    );
    line.outcome('the figures are in the report');
  });
}

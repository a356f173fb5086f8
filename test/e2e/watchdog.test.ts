import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { sharedCluster } from './fixture.ts';
import { reflections } from './fixture-volume.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdHost: 'meta' });

async function headGone(node: string, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (performance.now() < end) {
    if (cluster.node(node).pids('head').length === 0) return true;
    await sleep(100);
  }
  return false;
}

describe('reads of a head that may be superseded', () => {
  it('a head that is cut off from the store and from a member is ended by its own node', async () => {
    const volume = await cluster.createVolume('Silver');
    await volume.attach('n1');
    expect(cluster.node('n1').pids('head')).toHaveLength(1);
    await cluster.lab.network.cut('n1', 'silent');
    // 4.5 s until the lease counts no more, and a look and a question on a busy machine.
    expect(await headGone('n1', 20_000)).toBe(true);
    const log = readFileSync(join(cluster.node('n1').directory, 'log', 'watchdog.log'), 'utf8');
    expect(log).toContain('is killed');
    await cluster.lab.network.heal('n1');
    await volume.waitFor(({ head, report }) => head === 'n1' && report.state === 'healthy');
    await volume.detach('n1');
  });

  it('a head goes on without store and daemon while its members confirm it', async () => {
    // The node that was cut off has its lease again.
    const nodes = async () =>
      (await cluster.node('n1').api.call<{ nodes: { up: boolean }[] }>('GET', '/v1/nodes')).nodes;
    await expect.poll(async () => (await nodes()).every((n) => n.up)).toBe(true);
    const volume = await cluster.createVolume('Silver');
    const io = cluster.qemuIo(await volume.attach('n1'));
    await volume.mended();
    const [pid] = cluster.node('n1').pids('head');
    cluster.lab.etcd?.freeze();
    await cluster.node('n1').killDaemon();
    await sleep(9_000);
    expect(cluster.node('n1').pids('head')).toEqual([pid]);
    await io.write({ offset: 0, length: 4096, byte: 7 });
    await io.read({ offset: 0, length: 4096, byte: 7 });
    cluster.lab.etcd?.thaw();
    await cluster.node('n1').start();
    const state = await volume.show('n1');
    expect(cluster.node('n1').pids('head')).toEqual([pid]);
    const [peer = ''] = reflections(state);
    expect(peer).not.toBe('');
    io.kill();
    await volume.detach('n1');
  });
});

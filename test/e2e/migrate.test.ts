import { beforeAll, expect, test } from 'vitest';
import { LabLibvirt } from '../../lab/libvirt.ts';
import type { MigratedAnswer, MigrationAnswer } from '../../src/api/vm-move-schemas.ts';
import { sharedCluster } from './fixture.ts';
import {
  expectNothingLost,
  type Moving,
  onlyOn,
  stallText,
  startMoving,
  writesOn,
} from './moving.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });
/** Megabytes a second at which a guest's memory takes long enough to be interrupted. */
const slow = 4;
const fast = 10_000;

let libvirt: Record<'n1' | 'n2', LabLibvirt>;
let web: Moving;
let db: Moving;

beforeAll(async () => {
  const [n1, n2] = await Promise.all(
    ['n1', 'n2'].map((name) => LabLibvirt.start(cluster.node(name))),
  );
  if (n1 === undefined || n2 === undefined) throw new Error('two are started');
  libvirt = { n1, n2 };
  web = await startMoving(cluster, n1, 'web', { dataVolumes: 1 });
  db = await startMoving(cluster, n1, 'db');
  await Promise.all([writesOn(web), writesOn(db)]);
});

function migrate(vm: string, to: string, via = 'n3'): Promise<MigratedAnswer> {
  return cluster.node(via).hscli('vm', 'migrate', vm, '--live', '--to', to);
}

async function throttle(from: 'n1' | 'n2', vm: string, megabytes: number): Promise<void> {
  const speed = ['migrate-setspeed', '--domain', vm, '--bandwidth', `${megabytes}`];
  await libvirt[from].virsh.run(speed);
}

/** Resolves once libvirt sends the guest's memory. */
async function untilSending(vm: string, via = 'n3'): Promise<void> {
  await expect
    .poll(async () => {
      const path = `/v1/vms/${vm}/migrate`;
      const { migration } = await cluster.node(via).api.call<MigrationAnswer>('GET', path);
      return migration?.sent?.sentBytes ?? 0;
    })
    .toBeGreaterThan(0);
}

async function domains(node: 'n1' | 'n2'): Promise<string[]> {
  const text = await libvirt[node].virsh.run(['list', '--all', '--name']);
  return text.split('\n').filter((name) => name.trim() !== '');
}

test('a guest with a boot and a data volume moves while it writes, and back again', async () => {
  for (const [from, to] of [
    ['n1', 'n2'],
    ['n2', 'n1'],
  ] as const) {
    const began = performance.now();
    const done = await migrate('web', to);
    expect(done).toMatchObject({ name: 'web', from, to, notes: [] });
    await onlyOn(web, to);
    await writesOn(web);
    const stall = stallText(web, began, performance.now());
    console.log(
      `${from} to ${to}: ${done.tookMs} ms, stood still ${done.downtimeMs} ms; longest pause of its writes: ${stall}`,
    );
    expect(await domains(from)).not.toContain('web');
  }
  expect(web.guest.bootIds).toHaveLength(1);
  web.guest.assertNoTrouble();
});

test('two guests move at the same time', async () => {
  const began = performance.now();
  const done = await Promise.all([migrate('web', 'n2'), migrate('db', 'n2')]);
  expect(done.map((m) => m.to)).toEqual(['n2', 'n2']);
  await Promise.all([web, db].map((moving) => onlyOn(moving, 'n2')));
  await Promise.all([writesOn(web), writesOn(db)]);
  const stalls = [web, db].map((m) => stallText(m, began, performance.now())).join('; ');
  console.log(`two at once: ${done.map((m) => m.tookMs).join(' and ')} ms; ${stalls}`);
});

test('a cancelled migration leaves the guest and its attachments where they were', async () => {
  await throttle('n2', 'web', slow);
  const failing = expect(migrate('web', 'n1')).rejects.toThrow(/cancelled.*it runs on n2/s);
  await untilSending('web');
  await expect(migrate('web', 'n1')).rejects.toThrow(/is being migrated to n1/);
  expect(await cluster.node('n1').hscli('vm', 'migrate', 'web', '--cancel')).toMatchObject({
    outcome: 'stayed',
  });
  await failing;
  await onlyOn(web, 'n2');
  await writesOn(web);
});

test('a migration whose destination dies leaves the guest where it was', async () => {
  const failing = expect(migrate('web', 'n1')).rejects.toThrow(/it runs on n2 as before/);
  await untilSending('web');
  await libvirt.n1.kill();
  await failing;
  await onlyOn(web, 'n2');
  await writesOn(web);
  await libvirt.n1.start();
  await expect.poll(() => domains('n1')).toEqual([]);
});

test('a migration whose daemon is killed is cleared up by the next one', async () => {
  const failing = expect(migrate('web', 'n1')).rejects.toThrow();
  await untilSending('web');
  await cluster.node('n2').killDaemon();
  await failing;
  await throttle('n2', 'web', fast);
  await cluster.node('n2').start();
  await onlyOn(web, 'n1');
  await writesOn(web);
  await expect.poll(() => domains('n2')).toEqual(['db']);
});

test('nothing that the guests reported is lost', async () => {
  expect([web, db].map(({ guest }) => guest.bootIds.length)).toEqual([1, 1]);
  db.guest.assertNoTrouble();
  await web.guest.destroy(libvirt.n1);
  await db.guest.destroy(libvirt.n2);
  await expectNothingLost(cluster, web, 'n1');
});

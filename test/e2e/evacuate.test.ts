import { beforeAll, expect, test } from 'vitest';
import { LabLibvirt } from '../../lab/libvirt.ts';
import type { EvacuatedAnswer } from '../../src/api/vm-move-schemas.ts';
import { sharedCluster } from './fixture.ts';
import { expectNothingLost, type Moving, onlyOn, startMoving, writesOn } from './moving.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'], etcdNode: 'n3' });

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

function evacuate(node: string, via: string, ...more: string[]): Promise<EvacuatedAnswer> {
  return cluster.node(via).hscli('vm', 'evacuate', node, ...more);
}

async function untilDown(node: string): Promise<void> {
  await expect
    .poll(async () => {
      const path = `/v1/nodes/${node}`;
      return (await cluster.node('n3').api.call<{ up: boolean }>('GET', path)).up;
    })
    .toBe(false);
}

async function domains(node: 'n1' | 'n2'): Promise<string[]> {
  const text = await libvirt[node].virsh.run(['list', '--all', '--name']);
  return text.split('\n').filter((name) => name.trim() !== '');
}

/** Resolves once the guest has started anew, with all that its earlier boots reported. */
async function comesBack({ guest, volumes }: Moving, boots: number): Promise<void> {
  const reported = guest.records.at(-1)?.n ?? 0;
  const counted = volumes.length > 1 ? guest.count('vdb') : 0;
  const { console: said } = guest;
  /** The number that the newest boot says in a line like this. */
  const saidSince = (pattern: RegExp) =>
    said.until(
      `${pattern} of boot ${boots}`,
      () => {
        const starts = said.lines.flatMap(({ text }, at) => (/^HS-BOOT /.test(text) ? [at] : []));
        const since = said.lines.slice(starts[boots - 1] ?? said.lines.length);
        return since.map(({ text }) => pattern.exec(text)?.[1]).find((n) => n !== undefined);
      },
      90_000,
    );
  expect(Number(await saidSince(/^HS-READY (\d+)$/))).toBeGreaterThanOrEqual(reported);
  if (volumes.length > 1) {
    expect(Number(await saidSince(/^HS-FOUND vdb (\d+)$/))).toBeGreaterThanOrEqual(counted);
  }
  await writesOn({ guest, volumes });
  expect(guest.bootIds).toHaveLength(boots);
}

test('the guests of a node that is up are not started a second time', async () => {
  await expect(evacuate('n1', 'n2')).rejects.toThrow(/node n1 is up/);
  await expect(evacuate('nowhere', 'n2')).rejects.toThrow(/there is no node/);
});

test('after a power cut two operators evacuate, and each guest starts once', async () => {
  await cluster.node('n1').powerCut();
  await untilDown('n1');
  const answers = await Promise.all([evacuate('n1', 'n2'), evacuate('n1', 'n3')]);
  for (const { vms } of answers) {
    expect(vms.map(({ name, to, outcome }) => ({ name, to, outcome }))).toEqual([
      { name: 'db', to: 'n2', outcome: 'started' },
      { name: 'web', to: 'n2', outcome: 'started' },
    ]);
  }
  await Promise.all([comesBack(web, 2), comesBack(db, 2)]);
  await Promise.all([onlyOn(web, 'n2'), onlyOn(db, 'n2')]);
});

test('the node comes back, and its old guests go', async () => {
  await cluster.node('n1').boot();
  await libvirt.n1.start();
  await expect.poll(() => domains('n1'), { timeout: 60_000 }).toEqual([]);
  expect((await domains('n2')).sort()).toEqual(['db', 'web']);
  await expect(evacuate('n1', 'n2')).rejects.toThrow(/node n1 is up/);
  await Promise.all([writesOn(web), writesOn(db)]);
});

test('an old guest that was only cut off changes nothing after it was evacuated', async () => {
  const old = libvirt.n2;
  await cluster.lab.network.cut('n2', 'silent');
  await untilDown('n2');
  const answer = await evacuate('n2', 'n3', '--vm', 'web', '--to', 'n1');
  expect(answer.vms).toMatchObject([{ name: 'web', to: 'n1', outcome: 'started' }]);
  const { records } = web.guest;
  const before = records.length;
  await comesBack(web, 3);
  expect(await old.virsh.run(['domstate', '--domain', 'web'])).toMatch(/running|paused/);
  await cluster.lab.network.heal('n2');
  await expect.poll(() => domains('n2'), { timeout: 60_000 }).toEqual(['db']);
  await writesOn(web, 20);
  // Both guests write to one console: an old one that went on would repeat numbers.
  const since = records.slice(before).map(({ n }) => n);
  expect(since).toEqual(since.map((_, at) => (since[0] ?? 0) + at));
  await onlyOn(web, 'n1');
  // What was not evacuated goes on as if nothing had been.
  await writesOn(db);
  expect(db.guest.bootIds).toHaveLength(2);
});

test('nothing that was acknowledged is lost', async () => {
  await web.guest.destroy(libvirt.n1);
  await db.guest.destroy(libvirt.n2);
  db.guest.assertNoTrouble();
  await expectNothingLost(cluster, web, 'n1');
});

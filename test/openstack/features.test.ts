/** What users ask of volumes beyond attaching them. Each test leaves nothing behind. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { found, untilWrites } from './guest.ts';
import { nothingLeft } from './residue.ts';
import {
  boot,
  computeHosts,
  deleteServers,
  deleteVolumes,
  makeVolume,
  on,
  os,
  otherHost,
  powerCut,
  powerOn,
  run,
  until,
  untilServer,
  untilVolume,
} from './stack.ts';

const vm = 'features';
const root = 'features-root';
const ofType = ['--type', 'hyperscale', '--size', '1'];

beforeAll(async () => {
  await makeVolume(root, ...ofType, '--image', 'tiny', '--bootable');
  await boot(vm, root);
  await untilWrites(vm);
});

afterAll(async () => {
  await deleteServers(vm);
  await deleteVolumes(root);
  await nothingLeft();
});

/** Volumes and the like that a test that failed has left must not fail the next ones. */
const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step().catch(() => undefined);
});

/** Makes a volume that the test deletes, or else this does. */
async function volume(name: string, ...options: string[]): Promise<string> {
  undo.push(async () => {
    await run('server', 'remove', 'volume', vm, name).catch(() => undefined);
    await untilVolume(name, 'available', 30);
    await run('volume', 'delete', name);
  });
  return makeVolume(name, ...options);
}

/** Attaches a volume, waits until the guest writes to it, and returns what was on it before. */
async function attach(name: string, server = vm): Promise<string> {
  await run('server', 'add', 'volume', server, name);
  await untilVolume(name, 'in-use');
  await untilWrites(server, ({ disks }) => 'vdb' in disks);
  return found(server, 'vdb');
}

async function detach(name: string, server = vm): Promise<void> {
  await run('server', 'remove', 'volume', server, name);
  await untilVolume(name, 'available');
  await untilWrites(server, ({ disks }) => !('vdb' in disks));
}

/** Its volume cannot be deleted before it is gone. */
async function deleteSnapshot(name: string): Promise<void> {
  await run('volume', 'snapshot', 'delete', name);
  await until(`snapshot ${name} is not deleted`, async () => {
    const snapshots = await os<{ Name: string }[]>('volume', 'snapshot', 'list');
    return snapshots.some(({ Name }) => Name === name) ? undefined : true;
  });
}

/** Waits until an image, a snapshot or a backup has a status. */
async function untilStatus(status: string, ...show: string[]): Promise<void> {
  await until(`${show.join(' ')} is not ${status}`, async () =>
    (await os(...show)).status === status ? true : undefined,
  );
}

test('a snapshot of a volume in use, a volume made of it, and a clone', async () => {
  await volume('data', ...ofType);
  await attach('data');
  const { boot: id } = await untilWrites(vm);
  await run('volume', 'snapshot', 'create', '--volume', 'data', '--force', 'snap');
  undo.push(() => run('volume', 'snapshot', 'delete', 'snap'));
  await untilStatus('available', 'volume', 'snapshot', 'show', 'snap');
  await detach('data');
  await volume('of-snap', '--type', 'hyperscale', '--size', '1', '--snapshot', 'snap');
  await volume('clone', '--type', 'hyperscale', '--size', '1', '--source', 'data');
  const before = Number(/count (\d+)/.exec(await attach('of-snap'))?.[1]);
  await detach('of-snap');
  const after = await attach('clone');
  await detach('clone');
  expect(after).toContain(id);
  expect(before).toBeLessThan(Number(/count (\d+)/.exec(after)?.[1]));
  await deleteSnapshot('snap');
  await deleteVolumes('data', 'of-snap', 'clone');
});

test('servers boot from a snapshot and from a clone of a root volume', async () => {
  await run('volume', 'snapshot', 'create', '--volume', root, '--force', 'root-snap');
  undo.push(() => run('volume', 'snapshot', 'delete', 'root-snap'));
  await untilStatus('available', 'volume', 'snapshot', 'show', 'root-snap');
  await volume('root2', '--type', 'hyperscale', '--size', '1', '--snapshot', 'root-snap');
  undo.push(() => deleteServers('second'));
  await boot('second', 'root2');
  await untilWrites('second');
  await deleteServers('second');
  await untilVolume('root2', 'available');
  await deleteVolumes('root2');
});

test('an image made of a volume, and a backup, hold what the guest wrote', async () => {
  await volume('data', ...ofType);
  await attach('data');
  const { boot: id } = await untilWrites(vm);
  await detach('data');
  undo.push(() => run('image', 'delete', 'of-data'));
  await os('image', 'create', '--volume', 'data', '--disk-format', 'raw', 'of-data');
  await untilStatus('active', 'image', 'show', 'of-data');
  await untilVolume('data', 'available');
  undo.push(() => run('volume', 'backup', 'delete', 'backup'));
  await os('volume', 'backup', 'create', '--name', 'backup', 'data');
  await untilStatus('available', 'volume', 'backup', 'show', 'backup');
  await volume('restored', ...ofType);
  // Clients before 6.1 report a failure of their own after the request was accepted.
  await run('volume', 'backup', 'restore', '--force', 'backup', 'restored').catch(() => undefined);
  await untilStatus('available', 'volume', 'backup', 'show', 'backup');
  await untilVolume('restored', 'available');
  await volume('from-image', ...ofType, '--image', 'of-data');
  for (const name of ['restored', 'from-image']) {
    expect(await attach(name), name).toContain(id);
    await detach(name);
  }
  await run('image', 'delete', 'of-data');
  await run('volume', 'backup', 'delete', 'backup');
  await deleteVolumes('data', 'restored', 'from-image');
});

test('a volume of two servers at once', async () => {
  await volume('shared', '--type', 'multi', '--size', '1');
  await volume('root2', ...ofType, '--image', 'tiny', '--bootable');
  undo.push(() => deleteServers('second'));
  await boot('second', 'root2');
  await untilWrites('second');
  await attach('shared');
  // It is the guest of the first server that writes there; the second one would fight it.
  await run('server', 'add', 'volume', 'second', 'shared');
  await until('the second guest does not see it', async () =>
    (await found('second', 'vdb')) === '' ? undefined : true,
  );
  await run('server', 'remove', 'volume', 'second', 'shared');
  await until('the volume is not the first one’s alone', async () => {
    const { attachments } = await os<{ attachments: unknown[] }>('volume', 'show', 'shared');
    return attachments.length === 1 ? true : undefined;
  });
  await detach('shared');
  await deleteServers('second');
  await untilVolume('root2', 'available');
  await deleteVolumes('shared', 'root2');
});

test('an encrypted volume', async () => {
  // The guest writes to disks of 1 GiB and more, and LUKS takes some of it for its header.
  await volume('secret', '--type', 'luks', '--size', '2');
  await attach('secret');
  const { boot: id } = await untilWrites(vm, ({ disks }) => 'vdb' in disks);
  const host = await untilServer(vm, 'ACTIVE');
  const domain = String((await os('server', 'show', vm))['OS-EXT-SRV-ATTR:instance_name']);
  expect(await on(host, 'virsh', 'dumpxml', domain)).toContain("<encryption format='luks'");
  await detach('secret');
  expect(await attach('secret')).toContain(id);
  await detach('secret');
  await deleteVolumes('secret');
});

test('cold migration, resize, and shelving', async () => {
  await volume('data', ...ofType);
  await attach('data');
  let last = (await untilWrites(vm)).boot;
  /** The guest has booted anew, and found what it had written before. */
  const cameBack = async (): Promise<void> => {
    const { boot: id } = await untilWrites(vm, (beat) => beat.boot !== last);
    expect(await found(vm, 'vdb')).toContain(last);
    last = id;
  };
  const home = await untilServer(vm, 'ACTIVE');
  await run('server', 'migrate', '--wait', vm);
  expect(await untilServer(vm, 'VERIFY_RESIZE')).toBe(await otherHost(home));
  await run('server', 'migrate', 'confirm', vm);
  await untilServer(vm, 'ACTIVE');
  await cameBack();
  await run('server', 'resize', '--flavor', 't2', '--wait', vm);
  await untilServer(vm, 'VERIFY_RESIZE');
  await run('server', 'resize', 'revert', vm);
  await untilServer(vm, 'ACTIVE');
  await cameBack();
  await run('server', 'shelve', vm);
  await untilServer(vm, 'SHELVED_OFFLOADED');
  await run('server', 'unshelve', vm);
  await untilServer(vm, 'ACTIVE');
  await cameBack();
  await detach('data');
  await deleteVolumes('data');
});

test('volumes are transferred and retyped', async () => {
  await volume('data', ...ofType);
  type Request = { id: string; auth_key: string };
  const { id, auth_key: key } = await os<Request>(
    'volume',
    'transfer',
    'request',
    'create',
    'data',
  );
  await os('volume', 'transfer', 'request', 'accept', '--auth-key', key, id);
  await untilVolume('data', 'available');
  await run('volume', 'set', '--type', 'multi', '--retype-policy', 'never', 'data');
  await until('the type is not changed', async () =>
    (await os('volume', 'show', 'data')).type === 'multi' ? true : undefined,
  );
  await untilVolume('data', 'available');
  await deleteVolumes('data');
});

test('volumes are detached and deleted while the host that used them is down', async () => {
  const home = await untilServer(vm, 'ACTIVE');
  const dead = computeHosts.find((name) => name !== home) ?? '';
  await volume('root2', ...ofType, '--image', 'tiny', '--bootable');
  await volume('data', ...ofType);
  undo.push(() => deleteServers('second'));
  await boot('second', 'root2', '--host', dead);
  await run('server', 'add', 'volume', 'second', 'data');
  await untilWrites('second', ({ disks }) => 'vdb' in disks);
  undo.push(() => powerOn(dead));
  await powerCut(dead);
  await deleteServers('second');
  await untilVolume('data', 'available');
  await untilVolume('root2', 'available');
  await deleteVolumes('data', 'root2');
  await powerOn(dead);
});

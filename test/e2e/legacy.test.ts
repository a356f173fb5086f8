/** The legacy protocol, as the drivers of the original product speak it, against real daemons. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { connect as connectTo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { binDirectory } from '../../lab/child.ts';
import type { LabNode } from '../../lab/node.ts';
import { mib, sharedCluster } from './fixture.ts';
import { run } from './fixture-run.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'] });
const gib = 1024 * mib;

/** A volume as Cinder names it: when it creates it, and when it connects it. */
function newVolume(): { guid: string; name: string; link: string } {
  const uuid = randomUUID();
  const name = `volume-${uuid}`;
  return { guid: `{${uuid}}`, name, link: name.slice(1, 32) };
}

function environment(node: LabNode): NodeJS.ProcessEnv {
  return { HYPERSCALE_SOCKET: node.socketPath, HYPERSCALE_IMAGES: join(node.directory, 'images') };
}

/** Makes one call as a driver does: what it wrote on stderr is a failure. */
async function call(on: string, argument: object) {
  const node = cluster.node(on);
  const command = [join(binDirectory, 'hscli'), JSON.stringify(argument)];
  const { status, stdout, stderr } = await run(command, environment(node));
  const reply = JSON.parse(stdout) as { token: string; err_code: number; payload: unknown };
  return { ...reply, status, stderr };
}

/** A call that must succeed; resolves to its payload. */
async function done(on: string, argument: object): Promise<unknown> {
  const { status, stderr, err_code, payload } = await call(on, argument);
  expect({ status, stderr, err_code }).toEqual({ status: 0, stderr: '', err_code: 0 });
  return payload;
}

const operation = (name: string, fields: object) => ({ operation: name, ...fields });
const connect = (volume: { name: string }) =>
  operation('connect_volume', { volume_guid: volume.name });
const disconnect = (volume: { name: string }) =>
  operation('disconnect_volume', { volume_guid: volume.name });

function message(name: string, body: object, routingKey = 'n1') {
  return {
    ...{ operation: 'message', exchange_name: 'hyperscale-datanode', routing_key: routingKey },
    ...{ msg_token: `hyperscale.storage.dm.${name}`, msg_body: body },
  };
}

const create = (volume: { guid: string }, fields: object = {}, target = 'n1') =>
  message(
    'volume.create',
    {
      ...{ volume_guid: volume.guid, display_name: volume.guid, volume_raw_size: 1 },
      ...{ volume_qos: 1, dn_reflection_factor: 0, ...fields },
    },
    target,
  );

const remove = (volume: { name: string }, target = 'n1') =>
  message('volume.delete', { display_name: volume.name }, target);

function device(on: string, volume: { link: string }): string {
  return join(cluster.node(on).directory, 'dev', volume.link);
}

async function attachments(volume: { name: string }): Promise<string[]> {
  const path = `/v1/volumes/${volume.name}`;
  const { api } = cluster.node('n1');
  return (await api.call<{ attachments: { host: string }[] }>('GET', path)).attachments.map(
    ({ host }) => host,
  );
}

async function writeAt(path: string, position: number, bytes: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, position);
  await file.sync();
  await file.close();
}

async function sizeOf(path: string): Promise<number> {
  return Number((await run(['blockdev', '--getsize64', path])).stdout);
}

async function readAt(path: string, position: number, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, position);
  await file.close();
  return bytes;
}

beforeAll(async () => {
  // A node that answers is not yet known to the others.
  const up = async (on: string) => {
    const path = '/v1/nodes';
    const { nodes } = await cluster.node(on).api.call<{ nodes: { up: boolean }[] }>('GET', path);
    return nodes.filter((node) => node.up).length;
  };
  for (const on of ['n1', 'n2']) {
    await vi.waitFor(async () => expect(await up(on)).toBe(2), { timeout: 60_000 });
  }
});

test('a volume lives as Cinder, os-brick and Nova have it', async () => {
  const volume = newVolume();
  const reflection = { is_reflection_source: 0, dn_reflection_factor: 1 };
  // Cinder creates the reflection first, and then the volume at its source.
  await done('n1', create(volume, { ...reflection, reflection_src_ip: '10.0.0.1' }, 'n2'));
  await done('n1', create(volume, { dn_reflection_factor: 1, is_reflection_source: 1 }));
  const address = (on: string) => cluster.node(on).address;
  const here = { vsa_ip: address('n1'), refl_factor: '1', refl_targets: address('n2') };
  expect(await done('n1', connect(volume))).toEqual(here);
  const bytes = randomBytes(mib);
  await writeAt(device('n1', volume), 5 * mib, bytes);
  expect(await done('n1', connect(volume))).toEqual(here);

  const extend = message('volume.extend', { volume_guid: volume.guid, new_size: 2 });
  await done('n1', extend);
  await done('n1', extend);
  expect(await sizeOf(device('n1', volume))).toBe(2 * gib);

  expect(await call('n1', remove(volume))).toMatchObject({ status: 5, err_code: 16 });
  await done('n1', disconnect(volume));
  expect(existsSync(device('n1', volume))).toBe(false);
  expect(await attachments(volume)).toEqual([]);
  await done('n1', disconnect(volume));

  await done('n2', connect(volume));
  expect(await readAt(device('n2', volume), 5 * mib, mib)).toEqual(bytes);
  expect(await sizeOf(device('n2', volume))).toBe(2 * gib);
  await done('n2', disconnect(volume));

  await done('n1', remove(volume, 'n2'));
  await done('n1', remove(volume));
  expect(await call('n1', connect(volume))).toMatchObject({ status: 3, err_code: 2 });
});

test('what Cinder asks when it starts fits together', async () => {
  const id = await done('n1', operation('get_datanode_id', {}));
  expect(await done('n1', operation('version', {}))).toBe('1.0.0');
  const controller = { operation: 'message', exchange_name: 'hyperscale-controller' };
  const configuration = (await done('n1', {
    ...{ ...controller, routing_key: 'hyperscale-controller' },
    ...{ msg_token: 'hyperscale.controller.get.configuration', msg_body: { persona: 'datanode' } },
  })) as { config_data: Record<string, { hypervisor_id: string; data_ip: string }> };
  const own = Object.values(configuration.config_data).find((node) => node.hypervisor_id === id);
  expect(own?.data_ip).toBe(cluster.node('n1').address);
  const payload = await done('n1', message('discover.stats', {}, own?.hypervisor_id));
  const [stats] = (payload as { stats: Record<string, number>[] }).stats;
  expect(stats?.total_capacity).toBeGreaterThan(stats?.free_capacity ?? Number.NaN);
});

/**
 * Starts a call and kills it when its request number `step` is on its way to the daemon.
 * @param how.alone it makes all of its requests itself, instead of one for the daemon to make them
 * @param how.afterMs it is killed so much later
 * @returns false when it ended before
 */
async function killedAt(
  step: number,
  signal: NodeJS.Signals,
  argument: object,
  { alone = true, afterMs = 0 } = {},
): Promise<boolean> {
  const node = cluster.node('n1');
  const between = join(node.directory, `between-${randomUUID().slice(0, 8)}.sock`);
  let requests = 0;
  const server = createServer((client) => {
    const daemon = connectTo(node.socketPath);
    client.on('error', () => undefined).pipe(daemon);
    daemon.on('error', () => undefined).pipe(client);
    client.on('data', (bytes: Buffer) => {
      // One connection carries several requests.
      if (!/^[A-Z]+ \/\S* HTTP\//.test(bytes.toString('latin1', 0, 1_000))) return;
      requests += 1;
      if (requests !== step) return;
      // At once, so that it cannot end before: its answer is still to come.
      if (afterMs === 0) child.kill(signal);
      else setTimeout(() => child.kill(signal), afterMs);
    });
    client.once('close', () => daemon.destroy());
  });
  await new Promise<void>((resolve) => server.listen(between, resolve));
  const env = { ...process.env, HYPERSCALE_SOCKET: between };
  if (alone) Object.assign(env, { HYPERSCALE_LEGACY_ALONE: '1' });
  const child = spawn(join(binDirectory, 'hscli'), [JSON.stringify(argument)], {
    ...{ env, stdio: 'ignore' },
  });
  const [, ending] = await once(child, 'exit');
  server.close();
  return ending === signal;
}

test('a call that is killed at any of its steps is made again, or undone', async () => {
  const volume = newVolume();
  await done('n1', create(volume));
  const bytes = randomBytes(4096);
  await done('n1', connect(volume));
  await writeAt(device('n1', volume), 0, bytes);
  const signals = ['SIGKILL', 'SIGTERM', 'SIGINT'] as const;
  let [connects, disconnects] = [0, 0];
  for (let step = 1; step <= 4; step += 1) {
    const signal = signals[step % signals.length] ?? 'SIGKILL';
    if (await killedAt(step, signal, disconnect(volume))) disconnects += 1;
    await done('n1', disconnect(volume));
    expect(existsSync(device('n1', volume))).toBe(false);
    expect(await attachments(volume)).toEqual([]);

    // Undone from whatever it was left in, ...
    await killedAt(step, signal, connect(volume));
    await done('n1', disconnect(volume));
    expect(existsSync(device('n1', volume))).toBe(false);
    expect(await attachments(volume)).toEqual([]);

    // ... or made again.
    if (await killedAt(step, signal, connect(volume))) connects += 1;
    await done('n1', connect(volume));
    expect(await readAt(device('n1', volume), 0, 4096)).toEqual(bytes);
  }
  expect([connects, disconnects]).toEqual([4, 3]);
  // The daemon learns that nobody waits any more for what it does for hscli.
  for (const afterMs of [0, 10, 25, 50]) {
    const how = { alone: false, afterMs };
    await killedAt(1, 'SIGKILL', disconnect(volume), how);
    await killedAt(1, 'SIGKILL', connect(volume), how);
    await done('n1', disconnect(volume));
    expect(existsSync(device('n1', volume))).toBe(false);
    expect(await attachments(volume)).toEqual([]);
    await killedAt(1, 'SIGTERM', connect(volume), how);
    await done('n1', connect(volume));
    expect(await readAt(device('n1', volume), 0, 4096)).toEqual(bytes);
  }
  await done('n1', disconnect(volume));
  await done('n1', remove(volume));
});

test('an image becomes the content of a volume', async () => {
  const volume = newVolume();
  await done('n1', create(volume));
  const image = { image_id: randomUUID() };
  const path = String(await done('n1', operation('get_image_path', image)));
  expect(path).not.toBe(await done('n1', operation('get_image_path', image)));
  expect(existsSync(path)).toBe(false);
  const bytes = randomBytes(3 * mib);
  await writeFile(path, bytes);
  const fields = { volume_id: volume.guid, hs_image_id: `{${randomUUID()}}` };
  const take = (image_path: string) => operation('update_image', { image_path, ...fields });
  expect(await call('n1', take('/etc/passwd'))).toMatchObject({ status: 2, err_code: 10 });
  await done('n1', take(path));
  expect(existsSync(path)).toBe(false);
  expect(await attachments(volume)).toEqual([]);
  await done('n1', connect(volume));
  const digest = (content: Buffer) => createHash('sha256').update(content).digest('hex');
  expect(digest(await readAt(device('n1', volume), 0, 3 * mib))).toBe(digest(bytes));
  await writeFile(path, bytes);
  expect(await call('n1', take(path))).toMatchObject({ status: 5, err_code: 16 });

  // And a volume, which is used meanwhile, becomes an image.
  const made = { image_id: fields.hs_image_id };
  const copy = String(await done('n1', operation('get_volume_path', made)));
  expect(digest((await readFile(copy)).subarray(0, 3 * mib))).toBe(digest(bytes));
  const { volumes } = await cluster
    .node('n1')
    .api.call<{ volumes: { name: string }[] }>('GET', '/v1/volumes');
  expect(volumes.filter((v) => v.name.startsWith('export-'))).toEqual([]);
  const other = operation('get_volume_path', { image_id: randomUUID() });
  expect(await call('n1', other)).toMatchObject({ status: 3 });
  await done('n1', disconnect(volume));
  await done('n1', remove(volume));
});

test('a name whose device would be another one is refused, and nothing is attached', async () => {
  const link = 'taken';
  await writeFile(join(cluster.node('n1').directory, 'dev', link), 'of somebody else');
  const volume = await cluster.createVolume('Bronze', { name: `x${link}` });
  expect(await call('n1', connect(volume))).toMatchObject({ status: 5, err_code: 17 });
  expect(await attachments(volume)).toEqual([]);
  const other = await cluster.createVolume('Bronze', { name: 'a' });
  expect(await call('n1', connect(other))).toMatchObject({ status: 2, err_code: 10 });
  expect(await attachments(other)).toEqual([]);
});

test('a daemon that does not run is told of with how to start it', async () => {
  await cluster.node('n2').stopDaemon();
  const volume = newVolume();
  const { status, err_code, stderr } = await call('n2', connect(volume));
  expect({ status, err_code }).toEqual({ status: 6, err_code: 111 });
  expect(stderr).toContain('systemctl start hyperscaled');
});

/** What each call of the legacy protocol asks of the daemon, and what it makes of the answers. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runLegacy } from '../../src/legacy/run.ts';
import { FakeDaemon, nodeAnswer, problem } from './legacy-fake-daemon.ts';

const uuid = '8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';
const guid = `{${uuid}}`;
const name = `volume-${uuid}`;
const path = `/v1/volumes/${name}`;
const gib = 2 ** 30;

let daemon: FakeDaemon;
beforeEach(async () => {
  daemon = await FakeDaemon.start();
  daemon.answers.set('GET /v1/health', { status: 200, body: { node: 'n1' } });
  daemon.answers.set('GET /v1/nodes', {
    status: 200,
    body: { nodes: [nodeAnswer('n1'), nodeAnswer('n2'), nodeAnswer('n3')] },
  });
});
afterEach(() => daemon.stop());

async function call(argument: object) {
  const { stdout, stderr, exit } = await runLegacy([JSON.stringify(argument)], daemon.socket);
  return { ...JSON.parse(stdout), stderr, exit };
}

const exchanges = { dm: 'hyperscale-datanode', controller: 'hyperscale-controller' };

async function message(token: string, body: object, routingKey: string | null = 'n1') {
  const exchange = token.includes('.dm.') ? exchanges.dm : exchanges.controller;
  const operation = { operation: 'message', exchange_name: exchange, msg_token: token };
  return call({ ...operation, routing_key: routingKey, msg_body: body });
}

/** Layers as the API shows them; each is the nodes that hold it. */
function layers(...copies: string[][]) {
  const all = copies.map((nodes) => ({ copies: nodes.map((node) => ({ node })) }));
  return { status: 200, body: { layers: all } };
}

describe('connect_volume', () => {
  beforeEach(() => {
    daemon.answers.set(`PUT ${path}/attachments/n1/device`, made);
    daemon.answers.set(`GET ${path}/layers`, layers(['n1', 'n3'], ['n1', 'n2', 'n3']));
  });
  const made = { status: 200, body: { host: 'n1', device: '/dev/loop7', link: '/dev/x' } };
  const connect = (volume_guid: unknown) => call({ operation: 'connect_volume', volume_guid });

  it('attaches here, makes the device, and tells who has the copies of what is written', async () => {
    expect(await connect(name)).toEqual({
      ...{ token: 'connect_volume', err_code: 0, err_msg: '', stderr: '', exit: 0 },
      payload: { vsa_ip: '10.0.0.1', refl_factor: '2', refl_targets: '10.0.0.2,10.0.0.3' },
    });
    expect(daemon.asked).toContainEqual({
      call: `PUT ${path}/attachments/n1/device`,
      body: { name: `olume-${uuid.slice(0, 25)}`, attach: true },
    });
  });

  it('calls the device after the name that was given', async () => {
    await connect(guid);
    const put = daemon.asked.find((asked) => asked.call.startsWith('PUT'));
    expect(put?.body).toMatchObject({ name: uuid.slice(0, 31) });
  });

  it('names the node that serves when it is another one', async () => {
    daemon.answers.set(`GET ${path}/layers`, layers(['n2']));
    expect((await connect(name)).payload).toEqual({
      ...{ vsa_ip: '10.0.0.2', refl_factor: '0', refl_targets: '' },
    });
  });

  it('waits for the news of a volume that another node has just created', async () => {
    const absent = problem(404, 'not-found', 'there is no volume');
    daemon.answers.set(`PUT ${path}/attachments/n1/device`, [absent, absent, made]);
    expect((await connect(name)).exit).toBe(0);
  });

  it.each([
    ['device', `PUT ${path}/attachments/n1/device`],
    ['layers', `GET ${path}/layers`],
  ])('fails with the reason when the %s fails', async (_what, step) => {
    daemon.answers.set(step, problem(503, 'unavailable', 'no member can be reached'));
    const reply = await connect(name);
    expect(reply).toMatchObject({ err_code: 111, err_msg: 'no member can be reached', exit: 6 });
    expect(reply.stderr).toContain('no member can be reached');
  });

  it.each([
    ['undoes what it began', [], true],
    ['leaves what was attached before', [name], false],
  ])('that fails %s', async (_what, attached, undone) => {
    const nodes = [nodeAnswer('n1', { attached })];
    daemon.answers.set('GET /v1/nodes', { status: 200, body: { nodes } });
    const taken = problem(409, 'exists', '/dev/x is something else');
    daemon.answers.set(`PUT ${path}/attachments/n1/device`, taken);
    expect(await connect(name)).toMatchObject({
      err_code: 17,
      err_msg: '/dev/x is something else',
    });
    expect(daemon.calls.includes(`DELETE ${path}/attachments/n1`)).toBe(undone);
  });

  it('fails when the daemon ends in the middle of its answer', async () => {
    daemon.answers.set(`PUT ${path}/attachments/n1/device`, (response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{"host":');
      setImmediate(() => response.destroy());
    });
    expect(await connect(name)).toMatchObject({ err_code: 111, exit: 6 });
  });
});

describe('disconnect_volume', () => {
  const disconnect = () => call({ operation: 'disconnect_volume', volume_guid: guid });

  it('ends the device before the attachment', async () => {
    const gone = { status: 204 };
    daemon.answers.set(`DELETE ${path}/attachments/n1/device`, gone);
    daemon.answers.set(`DELETE ${path}/attachments/n1`, gone);
    expect(await disconnect()).toMatchObject({ err_code: 0, exit: 0, stderr: '' });
    expect(daemon.calls.slice(-2)).toEqual([
      `DELETE ${path}/attachments/n1/device`,
      `DELETE ${path}/attachments/n1`,
    ]);
  });

  it('of what is not there succeeds', async () => {
    expect(await disconnect()).toMatchObject({ err_code: 0, exit: 0 });
  });

  it('keeps the attachment when the device is busy', async () => {
    const busy = problem(409, 'in-use', '/dev/loop7 is in use');
    daemon.answers.set(`DELETE ${path}/attachments/n1/device`, busy);
    expect(await disconnect()).toMatchObject({ err_code: 16, err_msg: '/dev/loop7 is in use' });
    expect(daemon.calls).not.toContain(`DELETE ${path}/attachments/n1`);
  });
});

describe('volumes', () => {
  const create = (body: object, target = 'n1') =>
    message('hyperscale.storage.dm.volume.create', body, target);
  const wanted = { volume_guid: guid, display_name: guid, volume_raw_size: 3, volume_qos: 1 };
  const there = (sizeBytes: number, reflections: number) => {
    daemon.answers.set('POST /v1/volumes', problem(409, 'exists', 'there is one'));
    daemon.answers.set(`GET ${path}`, {
      status: 200,
      body: { name, sizeBytes, policy: { reflections } },
    });
  };

  it('are created under the name by which they will be connected', async () => {
    daemon.answers.set('POST /v1/volumes', { status: 201, body: {} });
    expect(await create({ ...wanted, dn_reflection_factor: 1 })).toMatchObject({ err_code: 0 });
    expect(daemon.asked).toEqual([
      { call: 'POST /v1/volumes', body: { name, sizeBytes: 3 * gib, policy: 'Silver' } },
    ]);
  });

  it.each([
    ['the reflection', 3, 1, 0],
    ['another size', 4, 1, 17],
    ['fewer copies', 3, 0, 17],
  ])('that exist: %s', async (_what, size, reflections, code) => {
    there(size * gib, reflections);
    const reply = await create({ ...wanted, dn_reflection_factor: 1 }, 'n2');
    expect(reply.err_code).toBe(code);
  });

  it('that exist with more copies than asked for are taken', async () => {
    there(3 * gib, 1);
    expect(await create({ ...wanted, dn_reflection_factor: 0 })).toMatchObject({ err_code: 0 });
  });

  it('are deleted by either name, also when they are gone', async () => {
    daemon.answers.set(`DELETE ${path}`, [
      { status: 204 },
      problem(404, 'not-found', 'there is no volume'),
    ]);
    for (const display_name of [name, guid, uuid]) {
      const reply = await message('hyperscale.storage.dm.volume.delete', { display_name }, 'NA');
      expect(reply).toMatchObject({ err_code: 0, exit: 0, stderr: '' });
    }
    expect(new Set(daemon.calls)).toEqual(new Set([`DELETE ${path}`]));
  });

  it('in use are not deleted', async () => {
    daemon.answers.set(`DELETE ${path}`, problem(409, 'in-use', 'it is attached on n2'));
    const reply = await message('hyperscale.storage.dm.volume.delete', { display_name: name });
    expect(reply).toMatchObject({ err_code: 16, err_msg: 'it is attached on n2', exit: 5 });
  });

  it('grow', async () => {
    daemon.answers.set(`POST ${path}/extend`, { status: 200, body: {} });
    const body = { volume_guid: guid, new_size: 5 };
    expect(await message('hyperscale.storage.dm.volume.extend', body)).toMatchObject({
      err_code: 0,
    });
    expect(daemon.asked).toEqual([{ call: `POST ${path}/extend`, body: { sizeBytes: 5 * gib } }]);
  });
});

describe('the cluster', () => {
  it('has a capacity on each node', async () => {
    const reply = await message('hyperscale.storage.dm.discover.stats', {}, 'n2');
    expect(reply.payload).toEqual({ stats: [{ total_capacity: 100, free_capacity: 40.5 }] });
    const unknown = await message('hyperscale.storage.dm.discover.stats', {}, 'n9');
    expect(unknown).toMatchObject({ err_code: 2, err_msg: 'there is no node "n9"' });
  });

  it('has no capacity that is known on a node that is down', async () => {
    const down = nodeAnswer('n1', { up: false, totalBytes: null, freeBytes: null });
    daemon.answers.set('GET /v1/nodes', { status: 200, body: { nodes: [down] } });
    const reply = await message('hyperscale.storage.dm.discover.stats', {});
    expect(reply).toMatchObject({ err_code: 112 });
  });

  it('has nodes that are both compute and data nodes', async () => {
    const nodes = [nodeAnswer('n1'), nodeAnswer('n2', { up: false })];
    daemon.answers.set('GET /v1/nodes', { status: 200, body: { nodes } });
    const token = 'hyperscale.controller.get.configuration';
    const ask = async (persona: string) => (await message(token, { persona })).payload.config_data;
    expect(await ask('compute')).toMatchObject({
      n1: { compute_name: 'n1', vsa_ip: '10.0.0.1', vsa_isolated_ip: '10.0.0.1', disabled: '0' },
      n2: { disabled: '1', vsa_section_header: 'n2' },
    });
    expect(await ask('datanode')).toMatchObject({
      n1: { hypervisor_id: 'n1', datanode_name: 'n1', data_ip: '10.0.0.1' },
    });
    expect(Object.keys(await ask('controller'))).toEqual(['n1', 'n2']);
    expect(await message(token, { persona: 'ghost' })).toMatchObject({ err_code: 10 });
    const members = await message('hyperscale.controller.get.membership', {});
    expect(members.payload).toEqual({
      of_membership: {
        n1: { personality: 'datanode', hypervisor_id: 'n1', data_ip: '10.0.0.1' },
      },
    });
  });

  it('tells the protocol version and the id of its node, and takes notice', async () => {
    expect((await call({ operation: 'version' })).payload).toBe('1.0.0');
    expect((await call({ operation: 'get_datanode_id' })).payload).toBe('n1');
    const stats = { hostname: 'n1', is_admin: 1, total: 100.0, free: 40.5 };
    for (const [token, body] of [
      ['hyperscale.controller.set.datanode.storage.stats', stats],
      ['hyperscale.controller.execute.workflow', { workflow_id: 'w' }],
    ] as const) {
      expect(await message(token, body, exchanges.controller)).toMatchObject({ err_code: 0 });
    }
  });
});

describe('snapshots and clones', () => {
  const snapshotId = 'f0e0fdb6-9a9e-4d4c-8d5a-5a3c3a0b4d11';
  const cloneId = 'a0e0fdb6-9a9e-4d4c-8d5a-5a3c3a0b4d22';
  const ok = { err_code: 0, exit: 0, stderr: '' };
  const snapshotCreate = (body: object) =>
    call({
      operation: 'message',
      exchange_name: 'hyperscale-storage',
      msg_token: 'hyperscale.storage.nfs.volume.snapshot.create',
      routing_key: null,
      msg_body: body,
    });
  const cloned = (token: string, changes: object = {}) =>
    message(`hyperscale.storage.dm.${token}`, {
      ...{ volume_guid: `{${cloneId}}`, parent_volume_guid: guid, volume_raw_size: 2 },
      ...{ display_name: `{${cloneId}}`, version_name: `{${snapshotId}}`, volume_qos: 1 },
      ...changes,
    });

  it('makes a snapshot under the id that OpenStack gave it, and deletes it', async () => {
    const body = {
      ...{ vdisk_id_str: guid, snapshot_id_str: `{${snapshotId}}`, user_initiated: 1 },
      snapshot_name: `snapshot-${snapshotId}`,
    };
    daemon.answers.set(`POST ${path}/snapshots`, { status: 201, body: {} });
    expect(await snapshotCreate(body)).toMatchObject(ok);
    expect(daemon.asked).toEqual([
      {
        call: `POST ${path}/snapshots`,
        body: { id: snapshotId, name: `snapshot-${snapshotId}` },
      },
    ]);
    const wanted = { volume_guid: guid, snapshot_id: `{${snapshotId.toUpperCase()}}` };
    daemon.answers.set(`DELETE ${path}/snapshots/${snapshotId}`, { status: 204 });
    expect(await message('hyperscale.storage.dm.version.delete', wanted)).toMatchObject(ok);
    // The volume is gone, and its snapshots with it.
    daemon.answers.set(
      `DELETE ${path}/snapshots/${snapshotId}`,
      problem(404, 'not-found', 'there is no volume'),
    );
    expect(await message('hyperscale.storage.dm.version.delete', wanted)).toMatchObject(ok);
    const wrong = { ...body, snapshot_id_str: 'x' };
    expect(await snapshotCreate(wrong)).toMatchObject({ err_code: 10, exit: 2 });
  });

  it('clones volumes and snapshots with the policy of the source, and knows its own again', async () => {
    daemon.answers.set('POST /v1/volumes', { status: 201, body: {} });
    expect(await cloned('volume.clone')).toMatchObject(ok);
    expect(await cloned('volume.clone.create')).toMatchObject(ok);
    const made = { name: `volume-${cloneId}`, sizeBytes: 2 * gib };
    expect(daemon.asked.map(({ body }) => body)).toEqual([
      { ...made, source: { volume: name } },
      { ...made, source: { volume: name, snapshot: snapshotId } },
    ]);
    daemon.answers.set('POST /v1/volumes', problem(409, 'exists', 'a volume exists'));
    const there = (parent: string | null) =>
      daemon.answers.set(`GET /v1/volumes/volume-${cloneId}`, {
        status: 200,
        body: { sizeBytes: 2 * gib, parent },
      });
    there(name);
    expect(await cloned('volume.clone')).toMatchObject(ok);
    there(null);
    expect(await cloned('volume.clone')).toMatchObject({ err_code: 17, exit: 5 });
  });
});

describe('what volumes cannot do yet', () => {
  it('is refused with a number of its own, and nothing is asked for', async () => {
    const reply = await call({ operation: 'episodic_snap', metadata: { TYPE: '0' } });
    expect(reply).toMatchObject({ err_code: 95, exit: 11, payload: null });
    expect(reply.stderr).toContain('not supported yet');
    expect(daemon.calls).toEqual([]);
  });

  it('has no snapshot of an episode to record', async () => {
    daemon.answers.set(`GET /v1/volumes/${name}`, { status: 200, body: {} });
    const body = { volume_guid: name, snapshot_id: uuid, snapshot_cookie: 'c-1' };
    const reply = await message('hyperscale.storage.dm.volume.snapshot.update', body);
    expect(reply).toMatchObject({ exit: 3, payload: null });
    expect(reply.stderr).toContain('cookie "c-1"');
  });

  it("includes episodes' snapshots: others are none of them", async () => {
    for (const metadata of [{}, { TYPE: '1' }, { workflow_id: 'w' }, undefined]) {
      const reply = await call({ operation: 'episodic_snap', metadata });
      expect(reply.payload).toEqual({ update: false });
    }
  });
});

describe('bin/hscli', () => {
  const hscli = fileURLToPath(new URL('../../bin/hscli', import.meta.url));
  const start = (args: string[]) =>
    new Promise<{ status: unknown; stdout: string; stderr: string }>((resolve) => {
      const env = { ...process.env, HYPERSCALE_SOCKET: daemon.socket };
      execFile(hscli, args, { env }, (error, stdout, stderr) =>
        resolve({ status: error?.code ?? 0, stdout, stderr }),
      );
    });

  const answers = (status: number, text: string, length = Buffer.byteLength(text)) =>
    daemon.answers.set('POST /v1/legacy', (response) =>
      response.writeHead(status, { 'content-length': length }).end(text),
    );

  it('tells what the daemon has made of a legacy call, to the byte', async () => {
    const reply = '{"token":"x","err_code":16,"err_msg":"é","payload":null}\n';
    const said = 'hscli: é\n  what to do: this\n';
    answers(200, `5\n${reply}${said}`);
    const argument = { operation: 'x', name: '"é\\' };
    expect(await start([JSON.stringify(argument)])).toEqual({
      ...{ status: 5, stdout: reply, stderr: said },
    });
    expect(daemon.asked).toEqual([{ call: 'POST /v1/legacy', body: argument }]);
  });

  it.each([
    ['refuses it', 403, 'not for the daemon to do'],
    ['cuts its answer off', 200, '0\n{"token":"x"}\n', 100],
    ['answers something else', 200, 'Hello'],
  ])('makes the call itself when the daemon %s', async (_what, status, text, length?: number) => {
    answers(status, text, length);
    const { stdout, ...rest } = await start(['{"operation":"get_datanode_id"}']);
    expect(JSON.parse(stdout)).toMatchObject({ err_code: 0, payload: 'n1' });
    expect(rest).toEqual({ status: 0, stderr: '' });
    expect(daemon.calls).toEqual(['POST /v1/legacy', 'GET /v1/health']);
  });

  it('takes a JSON object for a legacy call, and nothing else', async () => {
    expect(await start(['{"operation":"get_datanode_id"}'])).toEqual({
      status: 0,
      stdout: '{"token":"get_datanode_id","err_code":0,"err_msg":"","payload":"n1"}\n',
      stderr: '',
    });
    const cut = await start(['{"operation"']);
    expect(cut.status).toBe(2);
    expect(JSON.parse(cut.stdout)).toMatchObject({ token: 'unknown', err_code: 10 });
    expect(cut.stderr).toContain('is it cut off?');
    const other = await start(['[1]']);
    expect([other.status, other.stdout]).toEqual([2, '']);
  });
});

import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { run } from '../../src/cli/program.ts';

const uuid = '8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';

/** Runs `hscli connection ARGS`; no daemon is there. */
async function connection(...args: string[]) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const env = { HYPERSCALE_SOCKET: '/nowhere/api.sock' };
  const signal = new AbortController().signal;
  const io = { stdout, stderr, stdin: new PassThrough(), env, signal };
  const status = await run(['connection', ...args], io);
  stdout.end();
  stderr.end();
  return { status, stdout: await text(stdout), stderr: await text(stderr) };
}

const info = (data: object) => JSON.stringify({ driver_volume_type: 'hyperscale', data });
const place = { socket: '/run/hyperscale/attach/v.sock', session: 's1' };
const disk = '{"dev":"vdb","bus":"virtio"}';

test('disk prints the element that the driver makes, and needs no daemon', async () => {
  const asked = ['disk', info({ volume: uuid, ...place }), disk] as const;
  const plain = await connection(...asked);
  expect(plain).toMatchObject({ status: 0, stderr: '' });
  expect(plain.stdout).toMatch(/^<disk type="network" device="disk">[\s\S]*<\/disk>\n$/);
  expect(plain.stdout).toContain(`socket="${place.socket}"`);
  const json = JSON.parse((await connection(...asked, '--json')).stdout) as { xml: string };
  expect(`${json.xml}\n`).toBe(plain.stdout);
});

test('a volume that is not connected has no disk', async () => {
  const { status, stderr } = await connection('disk', info({ volume: 'db1' }), disk);
  expect(status).toBe(5);
  expect(stderr).toContain('volume db1 is not connected');
});

test('a network disk has no paths', async () => {
  const { stdout } = await connection('paths', info({ volume: 'db1', ...place }));
  expect(JSON.parse(stdout)).toEqual({ paths: [] });
});

test.each([
  [['connect', 'no JSON'], 'the info "no JSON" is no JSON object'],
  [['connect', '[]'], 'the info "[]" is no JSON object'],
  [['disconnect', '{"driver_volume_type":"rbd","data":{}}'], 'no driver for volume type "rbd"'],
  [['extend', info({})], '"volume" of the connection is missing'],
  [['disk', info({ volume: uuid, ...place }), '{"dev":"../x","bus":"virtio"}'], 'the target'],
  [['disk', info({ volume: 'db1', ...place }), '1'], 'the disk "1" is no JSON object'],
])('%j is refused', async (args, why) => {
  const { status, stderr, stdout } = await connection(...args, '--json');
  expect(stdout).toBe('');
  expect(JSON.parse(stderr)).toMatchObject({
    error: { code: 'bad-input', message: expect.stringContaining(why) as string },
  });
  expect(status).toBe(2);
});

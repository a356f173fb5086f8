/** Limits over the API and by `hscli`. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../../src/api/app.ts';
import { run } from '../../src/cli/program.ts';
import { FakeService, quiet, startApi } from './api-fake-service.ts';

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
beforeEach(async () => {
  service = new FakeService();
  api = await startApi(service);
  await hscli('volume create db1 --size 1G --policy Silver');
});
afterEach(() => api.stop());

/** Runs a command line; a problem comes back as text too. */
async function hscli(line: string): Promise<{ exit: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const env = { HYPERSCALE_SOCKET: api.socket };
  const { signal } = new AbortController();
  const exit = await run(line.split(' '), {
    stdout,
    stderr,
    stdin: new PassThrough(),
    env,
    signal,
  });
  const text = (stream: PassThrough) => String((stream.read() as Buffer | null) ?? '');
  return { exit, out: text(stdout), err: text(stderr) };
}

const recorded = () => [...service.records.values()].map((volume) => volume.limits);

test('hscli shows limits, changes them, and takes them from a policy', async () => {
  expect((await hscli('volume qos db1')).out).toBe(
    'Volume db1 may do 20000 IOPS (limits of its policy).\n',
  );
  const changed = await hscli('volume qos db1 --max-iops 500 --max-bandwidth 200M');
  expect(changed.out).toBe('Volume db1 may do 500 IOPS and 200 MiB/s (limits of its own).\n');
  await hscli('volume qos db1 --burst-iops 900 --burst-seconds 5 --max-bandwidth none');
  expect(JSON.parse((await hscli('volume qos db1 --json')).out)).toEqual({
    from: 'volume',
    maxIops: 500,
    maxBandwidth: null,
    burstIops: 900,
    burstBandwidth: null,
    burstSeconds: 5,
  });
  expect((await hscli('volume show db1')).out).toMatch(/Limits: +500 IOPS; bursts of 900 IOPS/);
  const gold = await hscli('volume qos db1 --policy gold --max-bandwidth 1M');
  expect(gold.out).toContain('30000 IOPS and 1 MiB/s (limits of its own)');
  expect((await hscli('volume qos db1 --policy Silver')).out).toContain('(limits of its policy)');
  expect(recorded()).toEqual([undefined]);
});

test('limits are given at creation too', async () => {
  await hscli('volume create db2 --size 1G --policy Bronze --max-iops 300 --burst-iops 600');
  expect((await hscli('volume qos db2')).out).toContain('300 IOPS; bursts of 600 IOPS for 1 s');
  await hscli('volume clone db2 db4 --max-bandwidth 2M');
  expect((await hscli('volume qos db4')).out).toContain('10000 IOPS and 2 MiB/s');
  const { exit } = await hscli('volume create db3 --size 1G --policy Bronze --max-iops 3');
  expect(exit).toBe(2);
  expect(service.records.size).toBe(3);
});

test.each([
  ['--max-iops 0', 2, /maxIops 0 is less than 10 IOPS/],
  ['--max-iops -5', 2, /--max-iops "-5" is not a whole number/],
  ['--max-iops many', 2, /--max-iops "many" is not a whole number/],
  ['--max-iops 1e9', 2, /"1e9" is not a whole number/],
  ['--max-iops 999999999999999', 2, /is more than/],
  ['--max-bandwidth 4k', 2, /maxBandwidth 4096 is less than 1048576/],
  ['--max-bandwidth 200MB', 2, /could mean powers of 1000/],
  ['--burst-iops 100', 2, /burstIops 100 is below maxIops 20000/],
  ['--burst-seconds 5', 2, /there is none/],
  ['--policy Platinum', 2, /no policy "Platinum"/],
  ['--min-iops 100', 5, /minimum of 100 IOPS cannot be promised[\s\S]*limit the other volumes/],
  ['--min-iops 100 --max-iops 500', 5, /cannot be promised/],
])('refuses %s, and changes nothing', async (options, exit, words) => {
  const refused = await hscli(`volume qos db1 ${options}`);
  expect(refused).toMatchObject({ exit, out: '', err: expect.stringMatching(words) });
  expect(recorded()).toEqual([undefined]);
});

test.each<[unknown, RegExp]>([
  [{}, /fewer|must NOT have|asks for nothing|empty|at least/i],
  [{ maxIops: '500' }, /maxIops/],
  [{ maxIops: [] }, /maxIops/],
  [{ color: 1 }, /unknown field "color"/],
  [null, /null/],
  [{ maxIops: 1e300 }, /maxIops/],
])('a body %j is refused with what is wrong', async (body, words) => {
  const app = await buildApp(service, { via: 'unix' }, quiet);
  const headers = { 'content-type': 'application/json' };
  const payload = JSON.stringify(body);
  const answer = await app.inject({
    method: 'PATCH',
    url: '/v1/volumes/db1/qos',
    headers,
    payload,
  });
  expect(answer.statusCode).toBe(400);
  expect(answer.json()).toMatchObject({ code: 'bad-input', detail: expect.stringMatching(words) });
  expect(recorded()).toEqual([undefined]);
  await app.close();
});

test('a volume that is not there is not found', async () => {
  expect((await hscli('volume qos nothing')).exit).toBe(3);
  expect((await hscli('volume qos nothing --max-iops 100')).exit).toBe(3);
});

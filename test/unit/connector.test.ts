/** The connector against an `hscli` that is a small script: what it is asked, and what it may say. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connector } from '../../src/connector/connector.ts';
import { withVolumeLock } from '../../src/connector/volume-lock.ts';

const uuid = '8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hs-connector-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** A connector whose `hscli` notes its arguments, one line a call, and then runs `script`. */
function connectorWith(script: string, more: object = {}): Connector {
  const program = join(directory, 'hscli');
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$*" >>${directory}/calls\n${script}\n`);
  chmodSync(program, 0o755);
  const lockDirectory = join(directory, 'locks');
  return new Connector({ program, lockDirectory, deviceDirectory: directory, ...more });
}

function calls(): string[] {
  const file = join(directory, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

const endpoint = `{"host":"n1","session":"s1","socket":"/run/a.sock","uri":"nbd+unix:///s1"}`;
const answers = (answer: string) => `echo '${answer}'`;
/** Answers a command that begins so, and others not at all. */
const when = (cases: Record<string, string>) =>
  `case "$*" in\n${Object.entries(cases)
    .map(([start, script]) => `'${start}'*) ${script};;`)
    .join('\n')}\n*) echo "unexpected: $*" >&2; exit 1;;\nesac`;
const fails = (code: string, message: string, exit: number) =>
  `echo 'sudo: a word of its own' >&2; echo '{"error":{"code":"${code}","message":"${message}","values":{},"exit":${exit}}}' >&2; exit ${exit}`;

test('a volume is connected by name, through the root helper, without a shell', async () => {
  const connector = connectorWith(answers(endpoint), { rootHelper: ['env', 'A=b c;$(x)'] });
  expect(await connector.connectVolume({ volume: 'db1' })).toEqual({
    ...{ type: 'network', socket: '/run/a.sock', export: 's1', uri: 'nbd+unix:///s1' },
  });
  expect(calls()).toEqual(['volume attach db1 --json --timeout 60']);
});

test('a block device is asked for after the attachment, under a name of the volume', async () => {
  const link = join(directory, 'hyperscale-db1');
  const connector = connectorWith(
    when({
      'volume attach db1 ': answers(endpoint),
      'volume device db1 --name hyperscale-db1 ': answers(
        `{"device":"/dev/loop7","link":"${link}"}`,
      ),
    }),
  );
  const properties = { volume: 'db1', mode: 'block' };
  expect(connector.getVolumePaths(properties)).toEqual([]);
  expect(await connector.connectVolume(properties)).toEqual({ type: 'block', path: link });
  writeFileSync(link, '');
  expect(connector.getVolumePaths(properties)).toEqual([link]);
  expect(connector.getVolumePaths({ volume: 'db1' })).toEqual([]);
});

test('the original product is called as its own connector called it', async () => {
  const reply = (payload: string) =>
    answers(`{"token":"t","err_code":0,"err_msg":"","payload":${payload}}`);
  const connector = connectorWith(
    reply('{"vsa_ip":"192.0.2.2","refl_factor":"2","refl_targets":"192.0.2.3,192.0.2.4"}'),
  );
  const properties = { export: 'hyperscale-sv:/hyperscale', name: `{${uuid}}` };
  expect(await connector.connectVolume(properties)).toEqual({
    type: 'block',
    path: join(directory, '8ee71c33-dcd0-4267-8f2b-e0742ec'),
    vsa_ip: '192.0.2.2',
    refl_factor: '2',
    refl_targets: '192.0.2.3,192.0.2.4',
  });
  await connectorWith(reply('{}')).disconnectVolume(properties, null);
  expect(calls()).toEqual([
    `{"operation":"connect_volume","volume_guid":"{${uuid}}"}`,
    `{"operation":"disconnect_volume","volume_guid":"{${uuid}}"}`,
  ]);
});

test('what a legacy reply lacks, or says beside it, is an error', async () => {
  const properties = { name: `volume-${uuid}` };
  const shown = when({ '{': 'X', 'volume show': fails('not-found', 'no volume', 3) });
  const replies: [string, RegExp][] = [
    [
      answers('{"err_code":0,"payload":{"vsa_ip":"a","refl_factor":1}}'),
      /nothing as "refl_targets"/,
    ],
    [answers('{"err_code":0,"payload":{"vsa_ip":"a","refl_factor":-1}}'), /-1 as "refl_factor"/],
    [answers('{"err_code":0,"payload":{"refl_factor":0}}'), /nothing as "vsa_ip"/],
    [answers('{"err_code":7,"err_msg":"no such thing","payload":null}'), /failed: no such thing/],
    ['echo warning >&2; echo \'{"err_code":0,"payload":{}}\'', /failed: warning/],
    ['exit 0', /ended with status 0/],
    ['echo boom >&2; exit 1', /failed: boom/],
  ];
  for (const [reply, message] of replies) {
    const connector = connectorWith(shown.replace('X', reply));
    await expect(connector.connectVolume(properties)).rejects.toThrow(message);
  }
});

test('errors of hscli keep their code; what it says beside JSON is quoted', async () => {
  const attempt = (script: string) => connectorWith(script).connectVolume({ volume: 'db1' });
  await expect(attempt(fails('not-found', 'there is no volume', 3))).rejects.toMatchObject({
    code: 'not-found',
    message: 'there is no volume',
  });
  await expect(attempt('echo "sudo: a password is required" >&2; exit 1')).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('a password is required'),
  });
  await expect(attempt('echo "{"')).rejects.toThrow(/which is no object/);
  await expect(attempt('echo "[1]"')).rejects.toThrow(/which is no object/);
  await expect(attempt(answers('{"session":"s"}'))).rejects.toThrow(/nothing as "socket"/);
  await expect(attempt('yes | head -c 3000000')).rejects.toThrow(/more than 1 MiB/);
  const missing = new Connector({ rootHelper: ['/nowhere/sudo'], lockDirectory: directory });
  await expect(missing.connectVolume({ volume: 'db1' })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('the root helper /nowhere/sudo'),
  });
});

test('a call that failed takes back the attachment that it made, and no other', async () => {
  const world = (since: string) =>
    when({
      'volume attach db1': answers(endpoint),
      'volume device db1': fails('engine', 'no loop device', 1),
      'volume show db1': answers(`{"attachments":[{"host":"n1","since":"${since}"}]}`),
      'cluster status': answers('{"node":"n1"}'),
      'volume detach db1': answers('{}'),
    });
  const connect = (since: string) =>
    connectorWith(world(since)).connectVolume({ volume: 'db1', mode: 'block' });
  await expect(connect('2999-01-01T00:00:00Z')).rejects.toThrow('no loop device');
  expect(calls().at(-1)).toMatch(/^volume detach db1 /);
  rmSync(join(directory, 'calls'));
  await expect(connect('2001-01-01T00:00:00Z')).rejects.toThrow('no loop device');
  expect(calls().some((call) => call.startsWith('volume detach'))).toBe(false);
});

test('a failure to take back is told with what failed before it', async () => {
  const connector = connectorWith(
    when({
      'volume attach': fails('timeout', 'no answer', 7),
      'volume show': fails('unavailable', 'the daemon is gone', 6),
    }),
  );
  await expect(connector.connectVolume({ volume: 'db1' })).rejects.toMatchObject({
    code: 'timeout',
    message: 'no answer; what was begun could not be taken back: the daemon is gone',
    hint: expect.stringContaining('hscli volume show db1'),
  });
});

test('what is absent is disconnected; force revokes; errors are ignored only when asked', async () => {
  const gone = connectorWith(fails('not-found', 'there is no volume', 3));
  await gone.disconnectVolume({ volume: 'db1' }, null);
  const stuck = when({
    'volume detach db1 --force': fails('timeout', 'still used', 7),
    'volume detach db1 ': fails('timeout', 'does not end', 7),
  });
  const properties = { volume: 'db1' };
  const connector = connectorWith(stuck);
  await expect(connector.disconnectVolume(properties, null)).rejects.toThrow('does not end');
  await expect(connector.disconnectVolume(properties, null, { force: true })).rejects.toThrow(
    'still used',
  );
  await connector.disconnectVolume(properties, null, { force: true, ignoreErrors: true });
  await expect(
    connector.disconnectVolume(properties, null, { ignoreErrors: true }),
  ).rejects.toThrow('does not end');
});

test('the size is told; a block device must be there', async () => {
  const connector = connectorWith(answers('{"sizeBytes":1073741824}'));
  expect(await connector.extendVolume({ volume: 'db1' })).toBe(2 ** 30);
  await expect(connector.extendVolume({ volume: 'db1', mode: 'block' })).rejects.toMatchObject({
    code: 'not-found',
  });
  await expect(
    connectorWith(answers('{"sizeBytes":"1"}')).extendVolume({ volume: 'db1' }),
  ).rejects.toThrow(/"1" as "sizeBytes"/);
});

test('a host without HyperScale has no properties, and one with it tells its node', async () => {
  const properties = await connectorWith(answers('{"node":"n7"}')).getConnectorProperties();
  expect(properties).toMatchObject({ node: 'n7', os_type: 'linux' });
  expect(await connectorWith('exit 1').getConnectorProperties()).toEqual({});
  expect(await new Connector({ program: '/nowhere/hscli' }).getConnectorProperties()).toEqual({});
});

test('a cancelled call ends its process before it says so', async () => {
  const connector = connectorWith(
    when({
      'volume attach': `echo $$ >${directory}/pid; exec sleep 60`,
      'volume show': fails('not-found', 'no volume', 3),
    }),
  );
  const cancel = new AbortController();
  const connecting = connector.connectVolume({ volume: 'db1' }, cancel.signal);
  await expect.poll(() => existsSync(join(directory, 'pid'))).toBe(true);
  cancel.abort();
  await expect(connecting).rejects.toMatchObject({ code: 'cancelled' });
  const pid = readFileSync(join(directory, 'pid'), 'utf8').trim();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  await expect(
    connector.connectVolume({ volume: 'db1' }, AbortSignal.abort()),
  ).rejects.toMatchObject({ code: 'cancelled' });
});

test('a call that takes too long is ended, and a limit must be one', async () => {
  const connector = connectorWith(
    when({
      'volume attach': `echo $$ >${directory}/pid; exec sleep 600`,
      'volume show': fails('not-found', 'no volume', 3),
    }),
    { timeoutSeconds: 10 },
  );
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const connecting = connector.connectVolume({ volume: 'db1' });
    connecting.catch(() => undefined);
    const pid = join(directory, 'pid');
    await vi.waitFor(() => expect(existsSync(pid)).toBe(true), { timeout: 15_000 });
    vi.advanceTimersByTime(16_000);
    await expect(connecting).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('did not end in 10 s'),
    });
  } finally {
    vi.useRealTimers();
  }
  for (const timeoutSeconds of [0, -1, Number.NaN, 1e6]) {
    expect(() => new Connector({ timeoutSeconds })).toThrow(/timeoutSeconds is/);
  }
  await expect(connectorWith('kill -9 $$').connectVolume({ volume: 'db1' })).rejects.toThrow(
    /was ended by SIGKILL/,
  );
});

test('a volume is never worked on by two calls at once', async () => {
  const busy = join(directory, 'busy');
  const script = `mkdir ${busy} || exit 1; sleep 0.1; rmdir ${busy}; echo '${endpoint}'`;
  const first = connectorWith(script);
  const second = connectorWith(script);
  await Promise.all([
    first.connectVolume({ volume: 'db1' }),
    second.connectVolume({ volume: 'db1' }),
    first.disconnectVolume({ volume: 'db1' }, null),
  ]);
  expect(calls().length).toBe(3);
});

test('calls for one volume wait for one another, calls for others do not', async () => {
  const order: string[] = [];
  const held = Promise.withResolvers<void>();
  const taken = Promise.withResolvers<void>();
  const first = withVolumeLock(directory, 'a', async () => {
    taken.resolve();
    await held.promise;
    order.push('first');
  });
  await taken.promise;
  const second = withVolumeLock(directory, 'a', async () => {
    order.push('second');
  });
  await withVolumeLock(directory, 'b', async () => {
    order.push('other');
  });
  const cancel = new AbortController();
  const third = withVolumeLock(directory, 'a', async () => {}, cancel.signal);
  cancel.abort();
  await expect(third).rejects.toMatchObject({ code: 'cancelled' });
  held.resolve();
  await Promise.all([first, second]);
  expect(order).toEqual(['other', 'first', 'second']);
});

test('a lock goes with what it was taken for, also when that failed; no lock is an error', async () => {
  const failing = withVolumeLock(directory, 'a', () => Promise.reject(new Error('it failed')));
  await expect(failing).rejects.toThrow('it failed');
  expect(await withVolumeLock(directory, 'a', async () => 'again')).toBe('again');
  writeFileSync(join(directory, 'file'), '');
  await expect(
    withVolumeLock(join(directory, 'file', 'below'), 'a', async () => {}),
  ).rejects.toMatchObject({ code: 'unavailable', message: /cannot lock volume a/ });
});

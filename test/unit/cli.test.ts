import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createApi } from '../../src/api/server.ts';
import { run } from '../../src/cli/program.ts';
import {
  FakeService,
  nodeDown,
  nodeUp,
  quiet,
  replica,
  sealed,
  secret,
  startApi,
  volumeRecord,
} from './api-fake-service.ts';

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
beforeEach(async () => {
  service = new FakeService();
  api = await startApi(service);
});
afterEach(() => api.stop());

/** A directory that is removed after the test. */
async function scratch() {
  const directory = await mkdtemp(join(tmpdir(), 'hs-cli-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

type Given = { input?: string; terminal?: boolean; socket?: string };

/** Starts a command; `done` resolves with its exit status and all that it wrote. */
function start(args: string[], given: Given = {}) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stdin: PassThrough & { isTTY?: boolean } = new PassThrough();
  stdin.isTTY = given.terminal === true;
  if (given.input !== undefined) {
    stdin.end(given.input);
  }
  const cancel = new AbortController();
  let written = '';
  stdout.on('data', (piece: Buffer) => {
    written += piece.toString();
  });
  let complaints = '';
  stderr.on('data', (piece: Buffer) => {
    complaints += piece.toString();
  });
  const env = { HYPERSCALE_SOCKET: given.socket ?? api.socket };
  const exit = run(args, { stdout, stderr, stdin, env, signal: cancel.signal });
  return {
    cancel: () => cancel.abort(),
    written: () => written,
    complaints: () => complaints,
    done: exit.then((status) => ({ status, stdout: written, stderr: complaints })),
  };
}

const hscli = (args: string[], given?: Given) => start(args, given).done;
const words = (line: string, given?: Given) => hscli(line.split(' '), given);

describe('hscli', () => {
  it('prints where a volume is a block device, and takes the device away', async () => {
    expect((await words('volume device db1')).stdout).toBe('/dev/loop7\n');
    expect((await words('volume device db1 --node n2 --name x')).stdout).toBe('/dev/x\n');
    const json = JSON.parse((await words('volume device db1 --json')).stdout);
    expect(json).toEqual({ host: 'n1', device: '/dev/loop7', link: null });
    expect(await words('volume device db1 --remove')).toMatchObject({ status: 0, stderr: '' });
    await words('volume device db1 --remove --force --node n2');
    expect(service.calls.filter(([name]) => String(name).endsWith('-device'))).toEqual([
      ['make-device', 'db1', 'n1', undefined],
      ['make-device', 'db1', 'n2', 'x'],
      ['make-device', 'db1', 'n1', undefined],
      ['remove-device', 'db1', 'n1', false],
      ['remove-device', 'db1', 'n2', true],
    ]);
  });

  it('takes a volume through its life', async () => {
    const created = await words('volume create db1 --size 1.5G --policy silver');
    expect(created).toMatchObject({ status: 0, stderr: '' });
    expect(created.stdout).toBe('Volume db1 (1.5 GiB, Silver) is ready.\n');
    const listed = await words('volume list');
    expect(listed.stdout).toMatch(/^NAME +SIZE +POLICY.*\n *db1 +1\.5 GiB +Silver +healthy/);
    const attached = await words('volume attach db1');
    expect(attached.stdout).toMatch(/^nbd\+unix:\/\/\/session-n1\?socket=\S+\n$/);
    expect((await words('volume attach db1 --node n2')).stdout).toMatch('session-n2');
    const shown = await words('volume show db1');
    expect(shown.stdout).toMatch(/Served by: +n2/);
    expect(shown.stdout).toMatch('1  open, epoch 1: n2, n2, n3');
    expect((await words('volume health db1')).stdout).toMatch(/^HEALTHY: Every layer/);
    expect((await words('volume layers db1')).stdout).toMatch(/1 +1 +open/);
    expect((await words('volume seal db1')).stdout).toMatch('epoch 1');
    const refused = await words('volume delete db1 --yes');
    expect(refused).toMatchObject({ status: 5, stdout: '' });
    expect(refused.stderr).toBe(
      'hscli: db1 is attached on n2\n  what to do: hscli volume detach db1 --node n2\n',
    );
    await words('volume detach db1');
    expect(service.calls.at(-1)).toEqual(['detach', 'db1', 'n1']);
    expect((await words('volume detach db1 --node n2')).status).toBe(0);
    expect((await words('volume delete db1 --yes')).stdout).toBe('Volume db1 is deleted.\n');
    expect((await words('volume list')).stdout).toMatch('No volumes.');
  });

  it('shows cluster, nodes, policies', async () => {
    service.records.set('x', volumeRecord({ chain: [sealed(1, [replica('n3', 'clean')])] }));
    service.nodeList = [nodeUp('n1'), nodeUp('n2'), nodeDown('n3')];
    const status = await words('cluster status');
    expect(status.stdout).toMatch(/State: +unavailable/);
    expect(status.stdout).toMatch(/Nodes: +2 of 3 up/);
    expect(status.stdout).toMatch('- Node n3 is down.');
    expect((await words('node list')).stdout).toMatch(/n3 +down/);
    expect((await words('node show n3')).stdout).toMatch(/Copies: +1 clean/);
    expect((await words('policy list')).stdout).toMatch(/Gold +3 +2 +30000/);
    const shown = await words('volume show db1');
    expect(shown.stdout).toMatch('UNAVAILABLE: Layer 1 has no clean copy');
    expect(shown.stdout).toMatch('n3 DOWN');
    expect(shown.stdout).toMatch('    why: n3 is down');
  });

  it('prints JSON and nothing else with --json, wherever it stands', async () => {
    await words('volume create db1 --size 1G --policy Gold');
    const everything = [
      'cluster status',
      'node list',
      'node show n1',
      'policy list',
      'volume list',
      'volume show db1',
      'volume layers db1',
      'volume health db1',
      'volume attach db1',
      'volume detach db1',
      'events',
    ];
    for (const line of everything) {
      const after = await words(`${line} --json`);
      expect(after, line).toMatchObject({ status: 0, stderr: '' });
      expect(() => JSON.parse(after.stdout), line).not.toThrow();
      const before = await words(`--json ${line}`);
      expect(before.status).toBe(0);
    }
    const failed = await words('volume show nothing --json');
    expect(failed).toMatchObject({ status: 3, stdout: '' });
    expect(JSON.parse(failed.stderr).error).toMatchObject({ code: 'not-found', exit: 3 });
    const usage = await words('volume create --json');
    expect(JSON.parse(usage.stderr).error).toMatchObject({ code: 'bad-input', exit: 2 });
  });

  it.each([
    ['volume create db1 --policy Gold', /--size/],
    ['volume create db1 --size 10GB --policy Gold', /"10GB"/],
    ['volume create db1 --size 1000 --policy Gold', /too small/],
    ['volume create db1 --size 1G --policy Platinum', /Platinum/],
    ['volume create a/b --size 1G --policy Gold', /"a\/b"/],
    ['volume create db1 --size 1G --policy Gold --colour red', /unknown option '--colour'/],
    ['volume create db1 db2 --size 1G --policy Gold', /too many arguments/],
    ['volume show', /missing required argument/],
    ['volume show ..', /"\.\." is not the name/],
    ['volume show a/b', /"a\/b"/],
    ['volume shwo db1', /unknown command 'shwo'.*\n.*volume show|show/],
    ['volumes list', /unknown command 'volumes'/],
    ['--timeout soon cluster status', /timeout "soon"/],
  ])('refuses: hscli %s', async (line, message) => {
    const answer = await words(line);
    expect(answer).toMatchObject({ status: 2, stdout: '' });
    expect(answer.stderr).toMatch(message);
    expect(answer.stderr).toMatch(/^hscli: .*\n {2}what to do: .*\n$/);
    expect(service.records.size).toBe(0);
  });

  it('teaches: every command has help with an example', async () => {
    const top = await words('--help');
    expect(top).toMatchObject({ status: 0, stderr: '' });
    expect(top.stdout).toMatch(/Exit status.*0 +done.*3 +not-found.*130 +cancelled/s);
    const commands = [
      'cluster status',
      'node list',
      'node show',
      'policy list',
      'volume create',
      'volume list',
      'volume show',
      'volume attach',
      'volume detach',
      'volume delete',
      'volume layers',
      'volume health',
      'volume seal',
      'events',
    ];
    for (const command of commands) {
      const help = await words(`${command} --help`);
      expect(help, command).toMatchObject({ status: 0 });
      expect(help.stdout, command).toMatch(`hscli ${command}`);
      expect(help.stdout, command).toMatch('Example');
    }
    expect((await words('volume')).status).toBe(2);
    expect((await hscli([])).stderr).toMatch('Usage: hscli');
  });

  it('asks before it deletes, and deletes only what was named', async () => {
    await words('volume create db1 --size 1G --policy Gold');
    const script = await words('volume delete db1');
    expect(script).toMatchObject({ status: 2, stderr: expect.stringMatching('--yes') });
    const other = await words('volume delete db1', { terminal: true, input: 'db2\n' });
    expect(other).toMatchObject({ status: 130, stderr: expect.stringMatching('nothing was') });
    const nothing = await words('volume delete db1', { terminal: true, input: '' });
    expect(nothing.status).toBe(130);
    expect(service.records.size).toBe(1);
    const asked = start(['volume', 'delete', 'db1'], { terminal: true });
    await expect.poll(asked.complaints).toMatch('Type its name');
    asked.cancel();
    expect((await asked.done).status).toBe(130);
    expect(service.records.size).toBe(1);
    const yes = await words('volume delete db1', { terminal: true, input: 'db1\n' });
    expect(yes.status).toBe(0);
    expect(service.records.size).toBe(0);
  });

  it('gives up after --timeout, and at once on Ctrl-C', async () => {
    await words('volume create db1 --size 1G --policy Gold');
    let aborted = 0;
    service.attachHook = (signal) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          aborted += 1;
        });
      });
    const late = await words('volume attach db1 --timeout 0.2');
    expect(late).toMatchObject({ status: 7, stderr: expect.stringMatching('within 0.2 s') });
    const running = start(['volume', 'attach', 'db1']);
    await expect.poll(() => service.calls.length).toBe(2);
    running.cancel();
    expect(await running.done).toMatchObject({ status: 130, stderr: 'hscli: cancelled\n' });
    await expect.poll(() => aborted).toBe(2);
  });
});

describe('without a daemon, hscli', () => {
  it('says which socket is missing and how to start it', async () => {
    const answer = await words('cluster status', { socket: '/nowhere/api.sock' });
    expect(answer.status).toBe(6);
    expect(answer.stderr).toMatch(/no socket \/nowhere\/api\.sock\n.*hyperscaled --config FILE/);
    const option = await words('--socket /else/where.sock cluster status');
    expect(option.stderr).toMatch('/else/where.sock');
  });

  it('says that nothing answers on a socket that was left, or is none', async () => {
    const directory = await scratch();
    const plain = join(directory, 'file');
    await writeFile(plain, '');
    const answer = await words('cluster status', { socket: plain });
    expect(answer).toMatchObject({ status: 6, stderr: expect.stringMatching('nothing answers') });
  });

  it('says when the daemon ends in the middle', async () => {
    const directory = await scratch();
    const socket = join(directory, 's');
    const server = createServer((connection) => connection.destroy()).listen(socket);
    await once(server, 'listening');
    const answer = await words('cluster status', { socket });
    expect(answer).toMatchObject({ status: 6, stderr: expect.stringMatching('no answer from') });
    server.close();
  });
});

describe('following', () => {
  it('prints events as they happen, until Ctrl-C', async () => {
    service.emit('a', 'The first thing.');
    expect((await words('events')).stdout).toMatch(/n1 {2}The first thing\.\n$/);
    const followed = start(['events', '--follow']);
    await expect.poll(followed.written).toMatch('The first thing.');
    service.emit('a', 'The second thing.');
    await expect.poll(followed.written).toMatch('The second thing.');
    followed.cancel();
    expect(await followed.done).toMatchObject({ status: 130 });
    const unknown = await words('events --follow --volume nothing');
    expect(unknown.status).toBe(3);
  });

  it('goes on after a restart of the daemon', async () => {
    service.emit('a', 'Before.');
    const followed = start(['events', '--follow', '--json']);
    await expect.poll(followed.written).toMatch('Before.');
    const { socket } = api;
    await api.stop();
    await expect.poll(followed.complaints).toMatch('waiting for it');
    await mkdir(dirname(socket), { recursive: true });
    const second = createApi(service, { secret, log: quiet });
    await second.listenUnix(socket);
    service.emit('a', 'After.');
    await expect.poll(followed.written, { timeout: 5000 }).toMatch('After.');
    followed.cancel();
    await followed.done;
    await second.close();
    await rm(dirname(socket), { recursive: true });
  });

  it('shows a volume again when it changes', async () => {
    await words('volume create db1 --size 1G --policy Gold');
    const watched = start(['volume', 'show', 'db1', '--watch']);
    await expect.poll(watched.written).toMatch('Nothing written yet.');
    await service.attach('db1', 'n1', new AbortController().signal);
    service.emit('volume.changed', 'Attached.');
    await expect.poll(watched.written).toMatch(/Served by: +n1/);
    service.records.clear();
    service.emit('volume.removed', 'Removed.');
    expect((await watched.done).status).toBe(3);
  });
});

it('bin/hscli starts, prints and exits by itself', async () => {
  await words('volume create db1 --size 1G --policy Gold');
  const bin = new URL('../../bin/hscli', import.meta.url).pathname;
  const child = spawn(bin, ['volume', 'list', '--socket', api.socket]);
  const [stdout, stderr, [status]] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    once(child, 'exit'),
  ]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/db1 +1 GiB/);
});

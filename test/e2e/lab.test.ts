/** The lab's network and processes, with dummy processes in place of the daemons. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ended } from '../../lab/child.ts';
import { createHome, destroyLab, type LabRecord, namespacesOf } from '../../lab/home.ts';
import { LabNetwork } from '../../lab/net.ts';
import { LabNode } from '../../lab/node.ts';
import { commandLine } from '../../lab/processes.ts';

const port = 4000;

/** A server that answers each connection with one line and closes. */
const greeter = `require('node:net').createServer((s) => s.end('hello\\n')).listen(${port}, '::')`;

/** Prints what the greeter says; the second argument is how many milliseconds it may take. */
const visitor = `
  const socket = require('node:net').connect(${port}, process.argv[1]);
  const fail = (error) => { console.error(error.message); process.exit(1); };
  setTimeout(() => fail(new Error('no answer')), Number(process.argv[2]));
  socket.on('error', fail).on('data', (text) => { process.stdout.write(text); process.exit(0); });
`;

let home: LabRecord;
let network: LabNetwork;
let a: LabNode;
let b: LabNode;
const children: ChildProcess[] = [];

function inHost(node: LabNode, ...command: string[]): ChildProcess {
  const child = node.spawn(command, { stdio: 'ignore' });
  children.push(child);
  return child;
}

async function visit(from: LabNode, to: LabNode, waitMs = 10_000): Promise<string> {
  return from.exec([process.execPath, '-e', visitor, to.address, `${waitMs}`]);
}

/** Resolves when one host hears nothing from the other for a while. */
async function expectNoAnswer(from: LabNode, to: LabNode): Promise<void> {
  await expect(visit(from, to, 700)).rejects.toThrow();
}

/** Starts a greeter on a node and waits until the node itself reaches it. */
async function greet(node: LabNode): Promise<ChildProcess> {
  const child = inHost(node, process.execPath, '-e', greeter);
  await expect
    .poll(() => visit(node, node, 2_000).catch(() => ''), { timeout: 60_000 })
    .toBe('hello\n');
  return child;
}

beforeEach(async () => {
  home = createHome();
  network = await LabNetwork.create(home);
  await network.addNode('a');
  await network.addNode('b');
  a = new LabNode(network, home.directory, 'a', { etcd: 'managed' });
  b = new LabNode(network, home.directory, 'b', { etcd: 'managed' });
});

afterEach(async () => {
  destroyLab(home);
  await Promise.all([a.detach(), b.detach(), ...children.splice(0).map(ended)]);
});

describe('network', () => {
  test('a cut host reaches nobody and is reached by nobody until it is healed', async () => {
    await Promise.all([greet(a), greet(b)]);
    expect(await visit(a, b)).toBe('hello\n');
    for (const how of ['unplugged', 'silent'] as const) {
      await network.cut('b', how);
      await Promise.all([expectNoAnswer(a, b), expectNoAnswer(b, a)]);
      await network.heal('b');
      expect(await Promise.all([visit(a, b), visit(b, a)])).toEqual(['hello\n', 'hello\n']);
    }
  });

  test('two hosts can be cut off from each other alone', async () => {
    await network.addNode('c');
    const c = new LabNode(network, home.directory, 'c', { etcd: 'managed' });
    await greet(b);
    await network.cutBetween('a', 'b');
    await expectNoAnswer(a, b);
    expect(await visit(c, b)).toBe('hello\n');
    await network.healBetween('a', 'b');
    expect(await visit(a, b)).toBe('hello\n');
    await c.detach();
  });

  test('nothing of it appears in the root namespace', () => {
    const links = execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' });
    expect(links).not.toContain('port1');
    expect(network.address('a')).not.toBe(network.address('b'));
  });
});

describe('processes', () => {
  test('a power cut ends every process of one host, empties its run directory, changes its boot id', async () => {
    const bootId = (): string => readFileSync(join(a.directory, 'boot_id'), 'utf8');
    const before = bootId();
    const script = `trap '' TERM; sleep 100 & sleep 100 & touch ${a.runDirectory}/file; wait`;
    const child = inHost(a, 'sh', '-c', script);
    const greeting = await greet(b);
    await expect.poll(() => existsSync(join(a.runDirectory, 'file'))).toBe(true);
    await expect.poll(() => a.pids().length).toBe(3);
    await a.powerCut();
    expect(a.pids()).toEqual([]);
    expect(await ended(child)).toBe('signal SIGKILL');
    expect(existsSync(join(a.runDirectory, 'file'))).toBe(false);
    expect(bootId()).not.toBe(before);
    expect(b.pids()).toEqual([greeting.pid]);
  });

  test('peers of a silent power cut hear nothing, and the host is reachable after the rebuild', async () => {
    await greet(b);
    await b.powerCut({ silent: true });
    await expectNoAnswer(a, b);
    await network.rebuild('b');
    await greet(b);
    expect(await visit(a, b)).toBe('hello\n');
  });

  test('a frozen role stands still while the others run', async () => {
    const name = `${a.runDirectory}/replica/x.sock`;
    const other = inHost(a, 'sleep', '100');
    inHost(a, 'bash', '-c', `exec -a ${name} sleep 100`);
    // Not the shell, whose arguments are gone for a moment when it becomes the other program.
    const become = () => a.pids('replica-server').filter((pid) => commandLine(pid)[0] === name);
    await expect.poll(() => become().length).toBe(1);
    const stateOf = (pid: number | undefined): string | undefined =>
      readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.charAt(0);
    const [pid] = a.pids('replica-server');
    a.freeze({ only: 'replica-server' });
    await expect.poll(() => stateOf(pid)).toBe('T');
    expect(stateOf(other.pid)).not.toBe('T');
    await a.thaw({ only: 'replica-server' });
    await expect.poll(() => stateOf(pid)).not.toBe('T');
    expect(() => a.freeze({ only: 'head' })).toThrow("no head process runs on node 'a'");
  });

  test('destroy leaves no process, namespace or file', async () => {
    inHost(a, 'sleep', '100');
    await greet(b);
    const names = namespacesOf(home.id);
    expect(names.sort()).toEqual(['a', 'b', 'hub'].map((name) => `hs-${home.id}-${name}`));
    destroyLab(home);
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain(home.id);
    expect(existsSync(home.directory)).toBe(false);
    expect(children.map((child) => commandLine(child.pid ?? 0))).toEqual([[], []]);
    destroyLab(home);
  });
});

/** A process that makes a lab with one sleeping host, prints its directory and stays. */
const owner = `
  const { LabCluster } = await import('${new URL('../../lab/cluster.ts', import.meta.url)}');
  const lab = await LabCluster.create({ nodes: ['n1'], start: false });
  lab.node('n1').spawn(['sleep', '100'], { stdio: 'ignore' });
  console.log(lab.directory);
  setInterval(() => undefined, 1000);
`;

async function startOwner(): Promise<{ child: ChildProcess; directory: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', owner]);
  children.push(child);
  child.stderr.pipe(process.stderr);
  const directory = await new Promise<string>((resolve) => {
    child.stdout.once('data', (text) => resolve(String(text).trim()));
  });
  return { child, directory };
}

const idOf = (directory: string): string => directory.slice(-6);

describe('a lab and its owner', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('%s to the owner ends the lab', async (name) => {
    const { child, directory } = await startOwner();
    expect(namespacesOf(idOf(directory))).toHaveLength(2);
    child.kill(name);
    expect(await ended(child)).toBe(`signal ${name}`);
    expect(namespacesOf(idOf(directory))).toEqual([]);
    expect(existsSync(directory)).toBe(false);
  });

  test('the sweeper ends a lab whose owner was killed, and no other', async () => {
    const { child, directory } = await startOwner();
    child.kill('SIGKILL');
    await ended(child);
    expect(namespacesOf(idOf(directory))).toHaveLength(2);
    const sweeper = new URL('../../lab/sweep.ts', import.meta.url).pathname;
    const output = execFileSync(process.execPath, [sweeper], { encoding: 'utf8' });
    expect(output).toContain(`${directory}: gone`);
    expect(namespacesOf(idOf(directory))).toEqual([]);
    expect(existsSync(directory)).toBe(false);
    expect(namespacesOf(home.id)).toHaveLength(3);
  });
});

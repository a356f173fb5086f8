/** What operators see and say of labels and drains: settings, API, `hscli`. */
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../../src/cli/program.ts';
import { checkConfig } from '../../src/daemon/config.ts';
import { parseDrain, parseNode } from '../../src/store/records.ts';
import { FakeService, nodeDown, nodeUp, startApi } from './api-fake-service.ts';

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
beforeEach(async () => {
  service = new FakeService();
  api = await startApi(service);
});
afterEach(() => api.stop());

async function hscli(line: string, signal = new AbortController().signal) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  let [out, complaints] = ['', ''];
  stdout.on('data', (piece: Buffer) => {
    out += piece.toString();
  });
  stderr.on('data', (piece: Buffer) => {
    complaints += piece.toString();
  });
  const env = { HYPERSCALE_SOCKET: api.socket, SUDO_USER: 'alice' };
  const stdin = new PassThrough();
  const status = await run(line.split(' '), { stdout, stderr, stdin, env, signal });
  return { status, stdout: out, stderr: complaints };
}

const asked = (name: string) => service.calls.filter(([call]) => call === name);
const waiting = {
  state: 'waiting' as const,
  copies: 2,
  bytes: 5 * 2 ** 20,
  writing: 1,
  attached: ['db1'],
  obstacles: [{ volume: 'big', why: 'Gold asks for 3 copies, and 2 other nodes can hold one' }],
};

describe('labels', () => {
  const config = (more: object) => checkConfig({ node: 'n1', address: '10.0.0.1', ...more }, 'f');

  it('are settings, checked as names are', () => {
    expect(config({}).labels).toEqual({});
    expect(config({ labels: { site: 'east', rack: 'r-2' } }).labels.rack).toBe('r-2');
    for (const labels of [
      { rack: '' },
      { rack: 'a b' },
      { rack: '../r' },
      { site: 'x'.repeat(64) },
    ]) {
      expect(() => config({ labels })).toThrow(/labels\.(rack|site) \(/);
    }
    expect(() => config({ labels: { rack: 7 } })).toThrow(/labels\.rack \(7\) must be string/);
    expect(() => config({ labels: { row: 'x' } })).toThrow(/there is no setting labels\.row/);
    for (const labels of [null, 'r1', ['r1']]) expect(() => config({ labels })).toThrow(/labels/);
  });

  it('of a record may be absent, as they were before there were any', () => {
    const { lease: _, ...record } = nodeDown('n1');
    const parse = (more: object) => parseNode('/nodes/n1', JSON.stringify({ ...record, ...more }));
    expect(parse({}).labels).toBeUndefined();
    expect(parse({ labels: { rack: 'r1' } }).labels).toEqual({ rack: 'r1' });
    expect(() => parse({ labels: [] })).toThrow(/damaged: labels/);
    expect(() => parse({ labels: { rack: 1 } })).toThrow(/damaged: no rack/);
    expect(() => parseDrain('/drains/n1', '{"node":"n1"}')).toThrow(/damaged: no pool/);
  });

  it('are shown, and what is not known as a dash', async () => {
    service.nodeList = [
      { ...nodeUp('n1'), labels: { site: 'east', rack: 'r1' } },
      {
        ...nodeDown('n2'),
        labels: { rack: 'r2' },
        drain: { ...mark, node: 'n2', pool: 'pool-n2' },
      },
      nodeUp('n3'),
    ];
    const { stdout } = await hscli('node list');
    expect(stdout).toMatch(/^n1 +up +east\/r1 /m);
    expect(stdout).toMatch(/^n2 +down, draining +r2 /m);
    expect(stdout).toMatch(/^n3 +up +- /m);
    expect((await hscli('node show n1')).stdout).toContain('Labels:     site east, rack r1\n');
    const { nodes } = JSON.parse((await hscli('node list --json')).stdout);
    expect(nodes[1]).toMatchObject({
      labels: { site: null, rack: 'r2' },
      drain: { since: mark.at, by: 'bob' },
    });
    expect((await hscli('cluster status')).stdout).toContain('Node n2 is being drained');
  });

  it('rebalancePercent is 0 or at least 10', () => {
    expect(config({ rebalancePercent: 0 }).rebalancePercent).toBe(0);
    for (const rebalancePercent of [9, 101, 1.5, '15']) {
      expect(() => config({ rebalancePercent })).toThrow(/rebalancePercent/);
    }
  });
});

const mark = { at: '2026-01-01T00:00:00.000Z', by: 'bob' };

it('the status says when too many nodes are down for new copies', async () => {
  const status = async () => (await hscli('cluster status')).stdout;
  service.nodeList = [nodeDown('n1'), nodeUp('n2'), nodeUp('n3')];
  expect(await status()).not.toContain('more than a third');
  service.nodeList = [nodeDown('n1'), nodeDown('n2'), nodeUp('n3'), nodeUp('n4')];
  expect(await status()).toContain('2 of 4 nodes are down, more than a third: no copies are made');
});

describe('hscli node drain', () => {
  it('ends with 0 when the node is empty, and says who asked', async () => {
    const { status, stdout } = await hscli('node drain n3');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Node n3 is drained: no volume has anything there\.\n/);
    expect(asked('drain')).toEqual([['drain', 'n3', { partial: false, by: 'alice' }]]);
  });

  it('says what waits for somebody, and ends with 6', async () => {
    Object.assign(service.operator.drained, waiting);
    const { status, stdout, stderr } = await hscli('node drain n3 --partial');
    expect(status).toBe(6);
    expect(stdout).toBe(
      'Node n3 is not empty: 2 copies (5 MiB), 1 layer being written, 1 attached volume left.\n' +
        'Attached there: db1\n' +
        'big cannot leave: Gold asks for 3 copies, and 2 other nodes can hold one\n',
    );
    expect(stderr).toMatch(
      /hscli volume detach db1 --node n3; add nodes or space\. The drain goes/,
    );
    expect(asked('drain')[0]?.[2]).toMatchObject({ partial: true });
    const json = await hscli('node drain n3 --json');
    expect(JSON.parse(json.stdout)).toMatchObject({ node: 'n3', ...waiting });
    expect(JSON.parse(json.stderr).error).toMatchObject({ code: 'unavailable', exit: 6 });
  });

  it('does not take a moment of waiting for its end', async () => {
    Object.assign(service.operator.drained, waiting);
    const done = hscli('node drain n3');
    await sleep(800);
    Object.assign(service.operator.drained, { state: 'drained', attached: [], obstacles: [] });
    expect(await done).toMatchObject({ status: 0 });
  });

  it('waits no longer after Ctrl-C or the time it was given, and says that it goes on', async () => {
    Object.assign(service.operator.drained, { ...waiting, state: 'draining' });
    const interrupt = new AbortController();
    const running = hscli('node drain n3', interrupt.signal);
    await expect.poll(() => asked('drainOf').length).toBeGreaterThan(0);
    interrupt.abort();
    const interrupted = await running;
    expect(interrupted).toMatchObject({ status: 130, stdout: '' });
    expect(interrupted.stderr).toContain('To end it: hscli node undrain n3');
    const late = await hscli('node drain n3 --timeout 2');
    expect(late).toMatchObject({ status: 7 });
    expect(late.stderr).toMatch(/1 attached volume left after 2 s\n.*The drain goes on/);
    expect(asked('undrain')).toEqual([]);
  });

  it('returns at once with --no-wait', async () => {
    Object.assign(service.operator.drained, { ...waiting, state: 'draining' });
    const { status, stdout } = await hscli('node drain n3 --no-wait');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Node n3 is being drained: 2 copies \(5 MiB\), .* left\. How far/);
    expect(asked('drainOf')).toEqual([]);
  });

  it('tells when somebody ended it meanwhile', async () => {
    Object.assign(service.operator.drained, { ...waiting, state: 'none' });
    expect(await hscli('node drain n3')).toMatchObject({ status: 5 });
  });

  it('is ended by undrain', async () => {
    const { status, stdout } = await hscli('node undrain n3');
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'Node n3 takes copies again.\n' });
    expect(asked('undrain')).toEqual([['undrain', 'n3']]);
  });

  it('refuses names that are none', async () => {
    for (const name of ['..', '', '.']) {
      expect((await hscli(`node drain ${name}`)).status).toBe(2);
      expect((await hscli(`node undrain ${name}`)).status).toBe(2);
    }
    expect((await hscli(`node drain ${'x'.repeat(64)}`)).status).toBe(2);
    expect(asked('drain')).toEqual([]);
  });
});

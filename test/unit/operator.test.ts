/** What operators are told and asked before something is lost, and what of it reaches the daemon. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LossReport } from '../../src/api/operator-service.ts';
import { run } from '../../src/cli/program.ts';
import type { FsckFinding } from '../../src/cluster/fsck-types.ts';
import { FakeService, nodeDown, startApi, volumeRecord } from './api-fake-service.ts';

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
const record = volumeRecord();
beforeEach(async () => {
  service = new FakeService();
  service.records.set(record.id, volumeRecord());
  api = await startApi(service);
});
afterEach(() => api.stop());

/** Runs a command; `input` is what a person at a terminal types. */
async function hscli(line: string, input?: string) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const stdin: PassThrough & { isTTY?: boolean } = new PassThrough();
  stdin.isTTY = input !== undefined;
  stdin.end(input);
  let [out, complaints] = ['', ''];
  stdout.on('data', (piece: Buffer) => {
    out += piece.toString();
  });
  stderr.on('data', (piece: Buffer) => {
    complaints += piece.toString();
  });
  const env = { HYPERSCALE_SOCKET: api.socket, SUDO_USER: 'alice' };
  const signal = new AbortController().signal;
  const status = await run(line.split(' '), { stdout, stderr, stdin, env, signal });
  return { status, stdout: out, stderr: complaints };
}

const asked = (name: string) => service.calls.filter(([call]) => call === name);

const finding: FsckFinding = {
  kind: 'stray',
  severity: 'warning',
  volume: record.id,
  node: 'n2',
  subject: 'x',
  what: 'There is a thing.',
  why: 'It fell from the sky.',
  action: 'It is moved.',
  fix: { do: 'quarantine', node: 'n2', path: 'x' },
};

describe('hscli cluster fsck', () => {
  it('ends with 0 when nothing is wrong', async () => {
    const { status, stdout, stderr } = await hscli('cluster fsck');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Checked: 1 record and 2 files on n1\n\nEverything is as the records/);
    expect(asked('fsck')).toEqual([['fsck', { volume: null, repair: false }]]);
  });

  it('explains what is wrong, and ends with 10', async () => {
    service.operator.report.findings = [finding, { ...finding, severity: 'error', fix: null }];
    const { status, stdout, stderr } = await hscli('cluster fsck --volume db1 --repair');
    expect(status).toBe(10);
    expect(stdout).toMatch(
      '- WARNING: There is a thing.\n    why: It fell from the sky.\n    It is moved. [safe: --repair does it]\n',
    );
    expect(stdout).toMatch(
      '- ERROR: There is a thing.\n    why: It fell from the sky.\n    It is moved.\n',
    );
    expect(stderr).toMatch(/^hscli: 1 error and 1 warning are left\n/);
    expect(asked('fsck')).toEqual([['fsck', { volume: 'db1', repair: true }]]);
  });

  it('takes notes for no fault, and shows what was repaired', async () => {
    service.operator.report.findings = [{ ...finding, severity: 'note' }];
    service.operator.report.repaired = ['There was a thing. Moved.'];
    const { status, stdout } = await hscli('cluster fsck');
    expect(status).toBe(0);
    expect(stdout).toMatch('Repaired:\n- There was a thing. Moved.\n\nLeft:\n- NOTE: ');
  });

  it('tells programs the kind, and nothing of its inner workings', async () => {
    service.operator.report.findings = [finding];
    const { status, stdout, stderr } = await hscli('cluster fsck --json');
    expect(status).toBe(10);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'inconsistent', exit: 10 } });
    const [told] = JSON.parse(stdout).findings;
    expect(told).toMatchObject({ kind: 'stray', repair: 'safe', volumeName: 'db1' });
    expect(told).not.toHaveProperty('fix');
    expect(told).not.toHaveProperty('subject');
  });
});

const plan: LossReport = {
  volume: record.id,
  name: 'db1',
  lost: ['LOST: everything since noon.'],
  before: ['Better: bring n1 back.'],
  believed: [{ layer: 'l1', epoch: 1, node: 'n3', writtenAt: 'noon', why: 'unverified' }],
  dropped: [{ layer: 'l2', epoch: 2, since: null, holders: ['n1'] }],
  missing: ['n1'],
  cutOffWriter: 'n1',
};
/** Of the volume that was shown, by its id, whatever has its name by now. */
const agreed = [
  ['force', record.id, { believed: [{ layer: 'l1', node: 'n3' }], dropped: ['l2'] }, 'alice'],
];

describe('hscli volume force', () => {
  it('shows what would be lost, and does nothing with --dry-run', async () => {
    service.operator.planned = plan;
    const { status, stdout } = await hscli('volume force db1 --dry-run');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      '- LOST: everything since noon.\n\nBefore you do it:\n- Better: bring n1',
    );
    expect(asked('force')).toEqual([]);
  });

  it('asks for the name, and agrees to exactly what was shown', async () => {
    service.operator.planned = plan;
    const done = await hscli('volume force db1', 'db1\n');
    expect(done).toMatchObject({ status: 0, stdout: expect.stringContaining('db1 goes on') });
    expect(done.stderr).toMatch(/LOST: everything since noon\..*Type db1 to give this up:/s);
    expect(asked('force')).toEqual(agreed);
  });

  it.each([['no\n'], ['y\n'], [''], ['DB1\n']])('does nothing when %j is typed', async (input) => {
    service.operator.planned = plan;
    expect(await hscli('volume force db1', input)).toMatchObject({ status: 130 });
    expect(asked('force')).toEqual([]);
  });

  it('does not ask with --yes, and needs it where nobody can be asked', async () => {
    service.operator.planned = plan;
    expect(await hscli('volume force db1')).toMatchObject({ status: 2, stdout: '' });
    expect(await hscli('volume force db1 --json', 'db1\n')).toMatchObject({ status: 2 });
    expect(asked('force')).toEqual([]);
    const done = await hscli('volume force db1 --yes --json');
    expect(done).toMatchObject({ status: 0, stderr: '' });
    expect(asked('force')).toEqual(agreed);
  });

  it('is refused where nothing would be lost', async () => {
    expect(await hscli('volume force db1 --yes')).toMatchObject({ status: 5, stdout: '' });
    expect(asked('force')).toEqual([]);
  });

  it('leaves its mark in what is shown of the volume', async () => {
    const loss = { at: '2026-01-02T03:04:05.000Z', by: 'alice', node: 'n3', text: ['LOST: it.'] };
    service.records.set(
      record.id,
      volumeRecord({ losses: [{ ...loss, believed: [], dropped: [] }] }),
    );
    const { stdout } = await hscli('volume show db1');
    expect(stdout).toMatch(
      /Data that was given up:\n- 2026-.*, by alice on n3:\n {4}LOST: it\.\n$/,
    );
  });
});

describe('hscli node remove', () => {
  beforeEach(() => {
    service.nodeList = service.nodeList.map((n) => (n.name === 'n3' ? nodeDown('n3') : n));
  });
  const decision = (acceptDataLoss: boolean) => [
    ['removeNode', 'n3', { acceptDataLoss, by: 'alice' }],
  ];

  it('asks for the name', async () => {
    expect(await hscli('node remove n3')).toMatchObject({ status: 2 });
    expect(await hscli('node remove n3', 'n2\n')).toMatchObject({ status: 130 });
    expect(asked('removeNode')).toEqual([]);
    const done = await hscli('node remove n3', 'n3\n');
    expect(done).toMatchObject({ status: 0, stdout: 'Node n3 is removed.\n' });
    expect(done.stderr).toMatch(/its pool pool-n3 are taken out for ever/);
    expect(asked('removeNode')).toEqual(decision(false));
  });

  it('says what would be lost, and does it only when that is accepted', async () => {
    service.operator.removable.losses = [{ volume: 'db1', why: 'it has the only copy' }];
    service.operator.lost = ['db1'];
    const refused = await hscli('node remove n3 --yes');
    expect(refused).toMatchObject({ status: 5, stdout: '' });
    expect(refused.stderr).toMatch(/db1: it has the only copy\n.*--accept-data-loss/);
    expect(asked('removeNode')).toEqual([]);
    const done = await hscli('node remove n3 --yes --accept-data-loss');
    expect(done.stderr).toContain('LOST: data of db1: it has the only copy');
    expect(done.stdout).toContain('hscli volume delete db1');
    expect(asked('removeNode')).toEqual(decision(true));
  });
});

describe('hscli volume detach --force', () => {
  it('does not ask the host', async () => {
    const done = await hscli('volume detach db1 --node n3 --force');
    expect(done).toMatchObject({ status: 0, stdout: 'db1 is not attached on n3.\n' });
    expect(asked('forceDetach')).toEqual([['forceDetach', 'db1', 'n3']]);
    expect(asked('detach')).toEqual([]);
    await hscli('volume detach db1 --node n3');
    expect(asked('forceDetach')).toHaveLength(1);
  });
});

describe('bad input', () => {
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`http://127.0.0.1:${api.port}/v1${path}`, {
      method,
      headers: {
        authorization: 'Bearer a secret that is long enough',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: await answer.text() };
  };
  const nothing = { believed: [], dropped: [] };

  it.each<[string, string, unknown]>([
    ['POST', '/cluster/fsck', { repairs: true }],
    ['POST', '/cluster/fsck', { repair: 'yes' }],
    ['POST', '/cluster/fsck', { volume: '../x' }],
    ['POST', '/volumes/db1/force', {}],
    ['POST', '/volumes/db1/force', { ...nothing, dropped: ['../../etc'] }],
    ['POST', '/volumes/db1/force', { ...nothing, believed: [{ layer: 'l1' }] }],
    ['POST', '/volumes/db1/force', { ...nothing, by: 'a\u001b[2J' }],
    ['POST', '/volumes/db1/force', { ...nothing, by: 'x'.repeat(64) }],
    ['DELETE', '/nodes/n3?acceptDataLoss=yes', undefined],
    ['DELETE', '/nodes/n3?force=true', undefined],
    ['DELETE', '/volumes/db1/attachments/n3?force=1', undefined],
    ['GET', '/nodes/-x/removal', undefined],
  ])('%s %s %j is refused and changes nothing', async (method, path, body) => {
    const answer = await ask(method, path, body);
    expect(answer.status, answer.body).toBe(400);
    expect(JSON.parse(answer.body).code).toBe('bad-input');
    expect(service.calls).toEqual([]);
  });

  it.each(['/volumes/nope/loss', '/volumes/nope/force'])(
    '%s knows no such volume',
    async (path) => {
      const post = path.endsWith('force');
      const answer = await ask(post ? 'POST' : 'GET', path, post ? nothing : undefined);
      expect(answer.status).toBe(404);
    },
  );
});

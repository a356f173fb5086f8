/** Growing a volume: the API and the command, who is told, and how callers wait. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type App, buildApp } from '../../src/api/app.ts';
import { extendedText } from '../../src/cli/commands/extend.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { type RollWish, WantedRolls } from '../../src/node/wanted-rolls.ts';
import { usersOf } from '../../src/vm/resize.ts';
import { FakeService, quiet, volumeRecord } from './api-fake-service.ts';

const gib = 2 ** 30;

describe('POST /v1/volumes/:volume/extend', () => {
  let service: FakeService;
  let app: App;
  beforeEach(async () => {
    service = new FakeService();
    service.records.set('x', volumeRecord());
    app = await buildApp(service, { via: 'unix' }, quiet);
  });
  afterEach(() => app.close());

  const { name, sizeBytes } = volumeRecord();
  const extend = (body: unknown) =>
    app.inject({
      method: 'POST',
      url: `/v1/volumes/${name}/extend`,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(body),
    });

  it('answers the new size, and who was told of it', async () => {
    const answer = await extend({ sizeBytes: 2 * sizeBytes });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({
      sizeBytes: 2 * sizeBytes,
      volume: { name, sizeBytes: 2 * sizeBytes },
      consumers: [
        { node: 'n1', kind: 'domain', name: 'web1 vda', problem: null },
        { node: 'n2', problem: 'the guest does not answer' },
      ],
    });
    expect(extendedText(answer.json())).toBe(
      `Volume ${name} has ${(2 * sizeBytes) / gib} GiB (${2 * sizeBytes} bytes) now.\n` +
        'web1 vda on n1 shows it.\n' +
        'web2 vda on n2 does not show it yet: the guest does not answer. It is tried again.\n',
    );
  });

  it.each([
    [{ sizeBytes: sizeBytes - 4096 }, /cannot become smaller/],
    [{ sizeBytes: 2 * gib + 1 }, /not a multiple of 4096/],
    [{ sizeBytes: 2 ** 60 }, /too big/],
    [{ sizeBytes: -4096 }, /too small/],
    [{ sizeBytes: '2G' }, /sizeBytes/],
    [{ sizeBytes: null }, /sizeBytes/],
    [{ sizeBytes: 2 * gib, size: 1 }, /size/],
    [{}, /sizeBytes/],
    [[], /object/],
  ])('refuses %j and changes nothing', async (body, text) => {
    const answer = await extend(body);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'bad-input', detail: expect.stringMatching(text) });
    expect(service.records.get('x')?.sizeBytes).toBe(sizeBytes);
  });
});

describe('rolls that are waited for', () => {
  const never = new AbortController().signal;
  const volume = { ...volumeRecord(), sizeBytes: gib };

  it('are one for all who ask: the largest size, or a seal', async () => {
    const rolls = new WantedRolls();
    const waiting = [
      rolls.add({ reason: 'seal' }, never),
      rolls.add({ reason: 'extend', sizeBytes: 2 * gib }, never),
      rolls.add({ reason: 'extend', sizeBytes: 3 * gib }, never),
    ];
    const done: RollWish[] = [];
    await rolls.serve(volume, async (wish) => {
      done.push(wish);
    });
    await Promise.all(waiting);
    expect(done).toEqual([{ reason: 'extend', sizeBytes: 3 * gib }]);
    expect(rolls.none).toBe(true);
  });

  it('are not begun for a size that the volume has', async () => {
    const rolls = new WantedRolls();
    const waiting = rolls.add({ reason: 'extend', sizeBytes: gib }, never);
    await rolls.serve(volume, () => Promise.reject(new Error('not to be called')));
    await waiting;
  });

  it('end for a caller that goes away, and fail for the others when they fail', async () => {
    const rolls = new WantedRolls();
    const gone = new AbortController();
    const leaves = rolls.add({ reason: 'extend', sizeBytes: 9 * gib }, gone.signal);
    const stays = rolls.add({ reason: 'seal' }, never);
    gone.abort();
    await expect(leaves).rejects.toMatchObject({ code: 'cancelled' });
    const failure = new HyperscaleError('unavailable', 'no');
    const wishes: RollWish[] = [];
    const served = rolls.serve(volume, async (wish) => {
      wishes.push(wish);
      throw failure;
    });
    await expect(stays).rejects.toBe(failure);
    await expect(served).rejects.toBe(failure);
    expect(wishes).toEqual([{ reason: 'seal' }]);
  });
});

describe('the disks of domains that are a volume', () => {
  const id = 'c69b16f2-5c67-4da3-af5f-aa1be8c115fb';
  const disk = (target: string, bus: string, serial: string, source: string) =>
    `<disk type='network' device='disk'>${source}<target dev='${target}' bus='${bus}'/>` +
    `<serial>${serial}</serial><alias name='alias-${target}'/></disk>`;
  const nbd = `<source protocol='nbd' name='s'><host transport='unix' socket='/s'/></source>`;
  const other = `<source protocol='rbd' name='pool/image'/>`;
  const domain = (disks: string) =>
    `<domain><name>web1</name><uuid>u1</uuid><devices>${disks}</devices></domain>`;

  it('are found by their serial number, with what QEMU calls them', () => {
    const disks = [
      disk('vda', 'virtio', id, nbd),
      disk('sda', 'scsi', id, nbd),
      disk('vdb', 'virtio', 'another', nbd),
      disk('vdc', 'virtio', id, other),
    ];
    const found = { uuid: 'u1', domain: 'web1' };
    expect(usersOf([domain(disks.join('')), domain('')], id)).toEqual([
      { ...found, target: 'vda', device: '/machine/peripheral/alias-vda/virtio-backend' },
      { ...found, target: 'sda', device: 'alias-sda' },
    ]);
  });

  it('are found by their socket when another program has given them its own serial', () => {
    const ours = `<source protocol='nbd' name='s'><host transport='unix' socket='/run/hyperscale/attach/${id}.sock'/></source>`;
    const disks = disk('sda', 'scsi', 'of-openstack', ours) + disk('sdb', 'scsi', 'another', nbd);
    expect(usersOf([domain(disks)], id).map(({ target }) => target)).toEqual(['sda']);
  });
});

import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectPeer } from '../../src/api/peer-client.ts';
import { FakeService, secret, startApi, volumeRecord } from './api-fake-service.ts';

let service: FakeService;
let api: Awaited<ReturnType<typeof startApi>>;
beforeEach(async () => {
  service = new FakeService();
  service.records.set('x', volumeRecord());
  api = await startApi(service);
});
afterEach(() => api.stop());

/** Follows events; `until` resolves with everything received once it contains the text. */
function follow(path: string, headers: Record<string, string> = {}) {
  let received = '';
  let check: (() => void) | null = null;
  const outgoing = request({ socketPath: api.socket, path, headers }, (response) => {
    response.setEncoding('utf8');
    response.on('data', (piece: string) => {
      received += piece;
      check?.();
    });
    response.on('error', () => undefined);
  });
  outgoing.on('error', () => undefined);
  outgoing.end();
  return {
    until: (text: string) =>
      new Promise<string>((resolve) => {
        check = () => {
          if (received.includes(text)) {
            resolve(received);
          }
        };
        check();
      }),
    stop: () => outgoing.destroy(),
  };
}

it('streams events as they happen, also kept ones', async () => {
  service.emit('a', 'first.');
  const fresh = follow('/v1/events');
  await fresh.until('retry');
  const all = follow('/v1/events?after=0');
  await all.until('first.');
  service.emit('b', 'second.');
  expect(await fresh.until('second.')).not.toMatch('first.');
  expect(await all.until('second.')).toMatch(/id: 1\ndata: .*first.*\n\nid: 2\ndata: /s);
  const again = follow('/v1/events?after=0', { 'last-event-id': '1' });
  expect(await again.until('second.')).not.toMatch('first.');
  for (const stream of [fresh, all, again]) {
    stream.stop();
  }
  await expect.poll(() => service.listeners.size).toBe(0);
});

it('streams only the events of one volume', async () => {
  const stream = follow('/v1/events?volume=db1');
  await stream.until('retry');
  service.emit('a', 'of another.', 'other');
  service.emit('b', 'of this.', volumeRecord().id);
  expect(await stream.until('of this.')).not.toMatch('of another.');
  stream.stop();
});

it('says that events were missed', async () => {
  service.emit('a', 'first.');
  const restarted = follow('/v1/events?after=77');
  expect(await restarted.until('first.')).toMatch('event: missed');
  service.events = [];
  for (let i = 0; i < 10; i += 1) {
    service.emit('a', `event ${i}.`);
  }
  service.events.splice(0, 5);
  const late = follow('/v1/events?after=2');
  expect(await late.until('event 9.')).toMatch(/id: 5\nevent: missed\ndata: {"after":2,"upTo":5}/);
  restarted.stop();
  late.stop();
});

it('queues nothing for a client that does not read, and goes on when it does', async () => {
  const socket = connect(api.socket);
  socket.pause();
  socket.write('GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
  await expect.poll(() => service.listeners.size).toBe(1);
  let asked = 0;
  const { eventsAfter } = service;
  service.eventsAfter = (after) => {
    asked += 1;
    return eventsAfter.call(service, after);
  };
  const long = 'x'.repeat(64 * 1024);
  for (let i = 0; i < 200; i += 1) {
    service.emit('a', long);
    service.events.splice(0, service.events.length - 3);
    await new Promise(setImmediate);
  }
  // Once the socket takes no more, events are not even looked at for this client.
  expect(asked).toBeLessThan(100);
  service.emit('a', 'the last.');
  let received = '';
  socket.setEncoding('utf8');
  socket.on('data', (piece: string) => {
    received = (received + piece).slice(-200_000);
  });
  socket.resume();
  await expect.poll(() => received.includes('the last.')).toBe(true);
  expect(received).toMatch('event: missed');
  socket.destroy();
});

it('tells the service when a client goes away', async () => {
  const aborted = new Promise<void>((resolve) => {
    service.attachHook = (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          resolve();
          reject(new Error('went away'));
        });
      });
  });
  const path = '/v1/volumes/db1/attachments';
  const outgoing = request({ socketPath: api.socket, path, method: 'POST' });
  outgoing.on('error', () => undefined);
  outgoing.end();
  await expect.poll(() => service.calls.length).toBe(1);
  outgoing.destroy();
  await aborted;
});

it('carries every call between nodes', async () => {
  const peer = connectPeer({ node: 'n1', address: '127.0.0.1', port: api.port, secret });
  const volume = volumeRecord().id;
  const layer = { volume, layer: 'layer-1', epoch: 1 };
  expect(await peer.prepareLayer({ ...layer, sizeBytes: 2 ** 30 })).toEqual({
    pool: 'pool-n1',
    boot: 'boot-n1',
  });
  expect((await peer.fence({ volume, epoch: 2 })).layers).toEqual(['layer-1']);
  await peer.serveLayer(layer);
  expect(await peer.openGateway({ volume, session: 's', port: null })).toEqual({
    port: 7500,
    sizeBytes: 2 ** 30,
    boot: 'b-1',
  });
  expect((await peer.manifest(layer)).chunks).toHaveLength(50_000);
  const bytes = await peer.readLayer({ ...layer, offset: 0, length: 4 * 2 ** 20 });
  expect(bytes.equals(Buffer.alloc(4 * 2 ** 20, 7))).toBe(true);
  expect(await peer.work()).toEqual([]);
  expect((await peer.attach(volume)).uri).toMatch('nbd+unix');
  await peer.detach(volume);
  const device = { device: '/dev/loop7', link: null };
  expect(await peer.makeDevice({ volume, name: '{x}' })).toEqual(device);
  await peer.removeDevice({ volume, force: true });
  await peer.seal(volume);
  expect(service.calls.map(([name]) => name)).toEqual([
    'prepareLayer',
    'serveLayer',
    'peer-detach',
    'peer-make-device',
    'peer-remove-device',
    'peer-seal',
  ]);
  await expect(peer.fence({ volume, epoch: 13 })).rejects.toMatchObject({
    code: 'conflict',
    values: { epoch: 13 },
  });
  await expect(peer.readLayer({ ...layer, offset: 0, length: 2 ** 24 })).rejects.toMatchObject({
    code: 'bad-input',
  });
  await peer.close();
});

it('says which node cannot be reached, is late, or knows another secret', async () => {
  const bad = connectPeer({ node: 'n1', address: '127.0.0.1', port: api.port, secret: 'other' });
  await expect(bad.work()).rejects.toMatchObject({ code: 'unauthorized' });
  const gone = connectPeer({ node: 'n7', address: '127.0.0.1', port: 1, secret });
  await expect(gone.work()).rejects.toMatchObject({
    code: 'node-down',
    message: expect.stringMatching('n7'),
  });
  const slow = connectPeer({ node: 'n1', address: '127.0.0.1', port: api.port, secret });
  service.peer.fence = () => new Promise(() => undefined);
  const request = { volume: 'v', epoch: 1 };
  await expect(slow.fence(request, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' });
  const cancel = new AbortController();
  const call = slow.fence(request, { signal: cancel.signal });
  cancel.abort();
  await expect(call).rejects.toMatchObject({ code: 'cancelled' });
  await Promise.all([bad.close(), gone.close(), slow.close()]);
});

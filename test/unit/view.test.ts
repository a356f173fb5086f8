/** Views: born attached, never written, gone with their attachment, and never left over. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connectionsOf } from '../../src/engine/connections.ts';
import { ViewKeeper } from '../../src/node/view-keeper.ts';
import { mustNotBeShown, viewsOf } from '../../src/node/views-of.ts';
import type { VolumeWorker } from '../../src/node/volume-worker.ts';
import { attach, detach } from '../../src/volume/attach.ts';
import { maxLayersForSeal, maxSealedLayers } from '../../src/volume/bounds.ts';
import { addClone, clonePoint } from '../../src/volume/clone.ts';
import { assertRecord, assertStep } from '../../src/volume/invariants.ts';
import type { NodeView, Volume } from '../../src/volume/types.ts';
import { createView, endView, isOver, isViewOf, viewKeeper } from '../../src/volume/view.ts';
import { attachment, nodeUp, replica, sealed, unsealed, volumeRecord } from './api-fake-service.ts';

const chain = (layers: number) =>
  Array.from({ length: layers }, (_, i) => sealed(i + 1, [replica('n1', 'clean')]));
const parent = volumeRecord({ chain: chain(2), epoch: 2 });

function view(changes: Partial<Volume> = {}): Volume {
  const made = createView(clonePoint(parent, null, maxSealedLayers), {
    id: '99999999-2222-4333-8444-555555555555',
    name: 'db1@s1:n2:0011',
    view: { of: parent.id, snapshot: { id: 's1', name: 'monday' } },
    attachment: attachment('n2'),
    createdAt: '2026-01-01T00:00:00.000Z',
  });
  return { ...made, ...changes };
}

const open = (node = 'n2') =>
  ({ phase: 'open', reason: 'attach', layer: unsealed(2, [node]) }) as const;

/** A store that has these records, of which the cache knows some. */
function records(all: readonly Volume[], cached: readonly Volume[]) {
  const versioned = (value: Volume) => ({ value, revision: '1' });
  const find = (from: readonly Volume[], id: string) =>
    from.filter((v) => v.id === id).map(versioned)[0];
  return {
    volumes: () => cached.map(versioned),
    volume: (id: string) => find(cached, id),
    readVolume: async (id: string) => find(all, id),
  };
}

describe('what a volume is shown as', () => {
  const shown = view();
  const noted = addClone(parent, { volume: shown.id, layer: 'layer-2' });

  it('is found also when another node has just made it', async () => {
    expect(await viewsOf(records([noted, shown], [parent]), noted)).toEqual([shown]);
    // A clone that shows what its own parent has.
    const { snapshots: _, ...rest } = parent;
    const clone = {
      ...rest,
      id: 'clone',
      parent: { ...shown.parent, volume: parent.id },
    } as Volume;
    const ofClone = { ...shown, view: { ...shown.view, of: 'clone' } } as Volume;
    expect(await viewsOf(records([noted, clone, ofClone], [parent, clone]), clone)).toEqual([
      ofClone,
    ]);
  });

  it('is over when the store says so, whatever the cache has', async () => {
    const store = records([noted, endView(shown)], [noted, shown]);
    expect(await viewsOf(store, noted)).toEqual([]);
    await mustNotBeShown(store, noted, null);
  });

  it('keeps its snapshot, and the volume with it', async () => {
    const store = records([noted, shown], [parent]);
    for (const snapshot of [null, 's1']) {
      await expect(mustNotBeShown(store, noted, snapshot)).rejects.toMatchObject({
        code: 'in-use',
        message: expect.stringMatching(/monday .*is attached on n2/),
        values: { hosts: ['n2'] },
      });
    }
    await mustNotBeShown(store, noted, 's2');
    const { view: of, ...rest } = shown;
    const exported = { ...rest, view: { ...of, snapshot: null } } as Volume;
    await mustNotBeShown(records([noted, exported], [noted]), noted, null);
  });
});

describe('a view', () => {
  it('is one copy that goes on from what it shows, attached on one host', () => {
    const made = view();
    expect(() => assertRecord(made)).not.toThrow();
    expect(made).toMatchObject({ policy: { reflections: 0 }, parent: { layer: 'layer-2' } });
    expect(isViewOf(made, { volume: parent.id, snapshot: 's1', host: 'n2' })).toBe(true);
    expect(isViewOf(made, { volume: parent.id, snapshot: 's1', host: 'n1' })).toBe(false);
  });

  it('is attached nowhere else, and never again', () => {
    const made = view();
    expect(attach(made, attachment('n2'))).toBe(made);
    for (const other of [attachment('n1'), { ...attachment('n2'), boot: 'later' }]) {
      expect(() => attach(made, other)).toThrow(/shown to one host/);
    }
    expect(() => attach(detach(made, 'n2'), attachment('n2'))).toThrow(/shown to one host/);
  });

  it('never becomes something else', () => {
    const made = view();
    const { view: _, ...plain } = made;
    expect(() => assertStep(made, plain)).toThrow(/shows something else/);
    expect(() =>
      assertStep(parent, { ...parent, ...(made.view ? { view: made.view } : {}) }),
    ).toThrow();
    const cloned = { ...made, clones: [{ volume: 'x', layer: 'layer-1' }] };
    expect(() => assertRecord(cloned)).toThrow();
  });

  it('may show longer chains than a clone begins on', () => {
    const long = volumeRecord({ chain: chain(maxLayersForSeal), epoch: 40 });
    expect(() => clonePoint(long, null)).toThrow(/32 layers/);
    expect(clonePoint(long, null, maxSealedLayers).parent?.layers).toBe(32);
  });

  it('ends whatever it is doing, and what it showed stays', () => {
    const noted = addClone(parent, { volume: view().id, layer: 'layer-2' });
    expect(() => assertStep(parent, noted)).not.toThrow();
    for (const volume of [view(), view({ tail: open(), epoch: 2 })]) {
      const ended = endView(volume);
      expect(() => assertStep(volume, ended)).not.toThrow();
      expect(ended.tail.phase).toBe('deleting');
      expect(endView(ended)).toBe(ended);
    }
    expect(endView(parent)).toBe(parent);
  });
});

describe('a view is over', () => {
  const all = ['n1', 'n2', 'n3'].map(nodeUp);
  const down = (name: string) => all.map((n) => (n.name === name ? { ...n, lease: null } : n));
  const over = (volume: Volume, nodes: NodeView[], ...givenUp: string[]) =>
    isOver(volume, nodes, new Set(givenUp));

  it('when its host is gone, given up, or up in another boot, and not before', () => {
    const made = view({ tail: open(), epoch: 2 });
    expect(over(made, all)).toBe(false);
    expect(over(made, down('n2'))).toBe(false);
    expect(over(made, down('n2'), 'n2')).toBe(true);
    expect(
      over(
        made,
        all.filter((n) => n.name !== 'n2'),
      ),
    ).toBe(true);
    const rebooted = { ...made, attachments: [{ ...attachment('n2'), boot: 'earlier' }] };
    expect(over(rebooted, all)).toBe(true);
    expect(over(parent, all)).toBe(false);
    expect(over(endView(made), all)).toBe(false);
  });

  it('when it was detached, as soon as its head has been closed, or cannot be', () => {
    const detached = detach(view({ tail: open(), epoch: 2 }), 'n2');
    expect(over(detached, all)).toBe(false);
    expect(over(detached, down('n2'))).toBe(true);
    expect(over(detach(view(), 'n2'), all)).toBe(true);
  });

  it('and one node clears it away: its host, or the first that lives', () => {
    expect(viewKeeper(view(), all)).toBe('n2');
    expect(viewKeeper(view(), down('n2'))).toBe('n1');
    expect(viewKeeper(view(), [])).toBeUndefined();
  });
});

describe('a view that nobody is connected to', () => {
  function keeperOf(volume: Volume) {
    let now = 0;
    let connections = 1;
    let ended = false;
    const timers: { at: number; callback: () => void }[] = [];
    const worker = {
      volume,
      head: { connections: () => connections },
      gateways: new Map(),
      context: {
        self: { node: 'n2', pool: 'pool-n2', boot: 'boot-n2' },
        nodes: () => ['n1', 'n2'].map(nodeUp),
        leasesKnown: () => true,
        log: { info: () => undefined },
        environment: {
          monotonic: () => now,
          after: (ms: number, callback: () => void) => {
            const timer = { at: now + ms, callback };
            timers.push(timer);
            return () => timers.splice(timers.indexOf(timer), 1);
          },
        },
      },
      change: async (step: (v: Volume) => Volume) => {
        ended = step(volume).tail.phase === 'deleting';
        return volume;
      },
    };
    const keeper: ViewKeeper = new ViewKeeper(worker as unknown as VolumeWorker, () => undefined);
    return {
      use: (count: number) => {
        connections = count;
      },
      /** Lets so much time go by, in which it looks as often as it asked to. */
      async pass(ms: number): Promise<boolean> {
        await keeper.tidy(new Set());
        for (const until = now + ms; ; ) {
          const next = timers.find((t) => t.at <= until);
          if (next === undefined || ended) return ended;
          timers.splice(timers.indexOf(next), 1);
          now = next.at;
          await keeper.tidy(new Set());
        }
      },
    };
  }
  const readOnce = view({
    tail: open(),
    view: { of: parent.id, snapshot: null, untilUnused: true },
  });

  it('goes a minute later, and not while somebody reads or comes back', async () => {
    const keeper = keeperOf(readOnce);
    expect(await keeper.pass(600_000)).toBe(false);
    keeper.use(0);
    expect(await keeper.pass(50_000)).toBe(false);
    keeper.use(1);
    expect(await keeper.pass(20_000)).toBe(false);
    keeper.use(0);
    expect(await keeper.pass(50_000)).toBe(false);
    expect(await keeper.pass(30_000)).toBe(true);
  });

  it('stays when it is an attached snapshot', async () => {
    const keeper = keeperOf(view({ tail: open() }));
    keeper.use(0);
    expect(await keeper.pass(600_000)).toBe(false);
  });
});

it('counts who is connected to an attachment, in whatever network namespace', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'hs-view-'));
  const path = join(directory, 'attach', 'x.sock');
  const { mkdir } = await import('node:fs/promises');
  await mkdir(join(directory, 'attach'));
  const accepted: Socket[] = [];
  const before = connectionsOf(process.pid);
  const server = createServer((socket) => accepted.push(socket)).listen(path);
  await once(server, 'listening');
  expect(connectionsOf(process.pid)).toBe(before);
  const near = connect(path);
  await once(server, 'connection');
  expect(connectionsOf(process.pid)).toBe(before + 1);
  const script = `require('net').connect(${JSON.stringify(path)})`;
  const far = spawn('unshare', ['--net', process.execPath, '-e', script], { stdio: 'ignore' });
  await once(server, 'connection');
  expect(connectionsOf(process.pid)).toBe(before + 2);
  far.kill('SIGKILL');
  near.destroy();
  for (const socket of accepted) {
    socket.resume();
    if (!socket.closed) await once(socket, 'close');
  }
  expect(connectionsOf(process.pid)).toBe(before);
  expect(connectionsOf(2 ** 30)).toBe(0);
  server.close();
  await rm(directory, { recursive: true });
});

/** Records kept in pools: what they promise, and that no garbage in a file does any harm. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Context } from '../../src/node/context.ts';
import { keepsRecord, parseSidecar, sidecarText } from '../../src/node/sidecar.ts';
import { SidecarKeeper } from '../../src/node/sidecar-keeper.ts';
import type { Versioned } from '../../src/store/store.ts';
import type { Volume } from '../../src/volume/types.ts';
import { attachment, replica, sealed, unsealed, volumeRecord } from './api-fake-service.ts';

const open = volumeRecord({
  epoch: 4,
  chain: [sealed(1, [replica('n1', 'clean'), replica('n4', 'unverified')])],
  tail: { phase: 'open', reason: 'attach', layer: unsealed(4, ['n1', 'n2']) },
  attachments: [attachment('n3')],
});
const { id } = open;

describe('a sidecar', () => {
  it('is read as it was written', () => {
    const text = sidecarText('cluster', { value: open, revision: '17' });
    expect(parseSidecar(id, text)).toEqual({ clusterId: 'cluster', revision: '17', volume: open });
  });

  it.each([
    ['nothing', ''],
    ['unreadable', null],
    ['cut short', sidecarText('cluster', { value: open, revision: '17' }).slice(0, 200)],
    ['a list', '[]'],
    ['null', 'null'],
    ['without a cluster', JSON.stringify({ revision: '1', volume: open })],
    ['with an odd revision', JSON.stringify({ clusterId: 'c', revision: '-1', volume: open })],
    ['of another volume', sidecarText('c', { value: { ...open, id: 'other' }, revision: '1' })],
    ['without a volume', JSON.stringify({ clusterId: 'c', revision: '1' })],
    ['that breaks a rule', sidecarText('c', { value: { ...open, epoch: 1 }, revision: '1' })],
  ])('%s is said to be damaged', (_, text) => {
    expect(() => parseSidecar(id, text)).toThrow(
      expect.objectContaining({ code: 'damaged', message: expect.stringContaining(id) }),
    );
  });

  it('is never more than an error, whatever its bytes are', () => {
    const text = sidecarText('cluster', { value: open, revision: '17' });
    const spoilt = fc
      .tuple(fc.nat(text.length), fc.nat(40), fc.string({ unit: 'binary', maxLength: 40 }))
      .map(([at, length, by]) => text.slice(0, at) + by + text.slice(at + length));
    const json = fc.json().map((value) => `{"clusterId":"c","revision":"1","volume":${value}}`);
    fc.assert(
      fc.property(fc.oneof(spoilt, json, fc.string()), (found) => {
        try {
          expect(parseSidecar(id, found).volume.id).toBe(id);
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(damaged|old-software)$/) });
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is kept by whoever has a part in the volume, and by all while nobody has one', () => {
    const keepers = (v: Volume) => ['n1', 'n2', 'n3', 'n4', 'n5'].filter((n) => keepsRecord(v, n));
    expect(keepers(open)).toEqual(['n1', 'n2', 'n3', 'n4']);
    expect(keepers(volumeRecord())).toEqual(['n1', 'n2', 'n3', 'n4', 'n5']);
    const opening = volumeRecord({
      epoch: 2,
      tail: {
        phase: 'opening',
        reason: 'evict',
        next: unsealed(2, ['n1', 'n5']),
        closing: unsealed(1, ['n1', 'n2']),
      },
    });
    expect(keepers(opening)).toEqual(['n1', 'n2', 'n5']);
  });
});

/** A pool and a store with one volume, as far as a keeper looks at them. */
class World {
  record: Versioned<Volume> | undefined;
  clusterId = 'one';
  quarantine: string | null = null;
  text: string | null = null;
  files: string[] = [];
  writes = 0;

  keeper(node = 'n1'): SidecarKeeper {
    const layers = {
      keepRecord: async (_: string, text: string) => {
        this.text = text;
        this.writes += 1;
      },
      record: async () => this.text,
      removeRecord: async () => {
        this.text = null;
      },
      list: async () => this.files,
    };
    const store = {
      volume: () => this.record,
      clusterId: () => this.clusterId,
      quarantine: () => this.quarantine,
      connected: () => true,
    };
    const context = { engine: { layers }, store, self: { node }, log: { warn: () => undefined } };
    return new SidecarKeeper(context as unknown as Context, id);
  }

  get kept(): { clusterId: string; revision: string } | null {
    return this.text === null ? null : parseSidecar(id, this.text);
  }
}

describe('the keeper of a sidecar', () => {
  it('keeps the newest record and writes it once', async () => {
    const world = new World();
    const keeper = world.keeper();
    world.record = { value: open, revision: '9' };
    await Promise.all([keeper.keep(), keeper.keep()]);
    expect(world.kept).toMatchObject({ clusterId: 'one', revision: '9' });
    world.record = { value: open, revision: '10' };
    await keeper.keep();
    expect(world.kept).toMatchObject({ revision: '10' });
    await world.keeper().keep();
    expect(world.writes).toBe(2);
  });

  it('never goes back to an older record', async () => {
    const world = new World();
    world.text = sidecarText('one', { value: open, revision: '100' });
    world.record = { value: open, revision: '99' };
    await world.keeper().keep();
    expect(world.kept).toMatchObject({ revision: '100' });
  });

  it('learns nothing in quarantine, and the recovered record whatever its revision', async () => {
    const world = new World();
    world.text = sidecarText('one', { value: open, revision: '100' });
    const keeper = world.keeper();
    world.record = { value: open, revision: '3' };
    world.clusterId = 'one.00000000.1';
    world.quarantine = 'not yet';
    await keeper.keep();
    expect(world.kept).toMatchObject({ clusterId: 'one', revision: '100' });
    world.quarantine = null;
    await keeper.keep();
    expect(world.kept).toMatchObject({ clusterId: 'one.00000000.1', revision: '3' });
  });

  it('replaces what cannot be read', async () => {
    const world = new World();
    world.text = '{"schema":1,';
    world.record = { value: open, revision: '1' };
    await world.keeper().keep();
    expect(world.kept).toMatchObject({ revision: '1' });
  });

  it('forgets a volume that was deleted, and keeps one that another store does not know', async () => {
    const world = new World();
    world.text = sidecarText('one', { value: open, revision: '5' });
    world.clusterId = 'two';
    await world.keeper().keep();
    expect(world.kept).not.toBeNull();
    world.clusterId = 'one';
    world.files = ['a file of it'];
    await world.keeper().keep();
    expect(world.kept).not.toBeNull();
    world.files = [];
    await world.keeper().keep();
    expect(world.kept).toBeNull();
  });

  it('ends with the part that the node had', async () => {
    const world = new World();
    world.text = sidecarText('one', { value: open, revision: '5' });
    world.record = { value: open, revision: '6' };
    await world.keeper('n9').keep();
    expect(world.kept).toBeNull();
  });
});

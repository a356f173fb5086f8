/** What a check of the cluster finds, and that a sound one shows nothing, whatever it is doing. */
import { describe, expect, test } from 'vitest';
import { compare, confirmed, suspected, unsettled } from '../../src/cluster/fsck.ts';
import { holdingOf, layerPathOf } from '../../src/cluster/fsck-look.ts';
import type { FsckFinding, Inspection, Scene } from '../../src/cluster/fsck-types.ts';
import type { Garbage, Merge, UnsealedLayer, Volume } from '../../src/volume/types.ts';
import {
  attachment,
  bootOf,
  fencing,
  node,
  open,
  opening,
  poolOf,
  record,
  replicas,
  sealed,
  unsealed,
} from './volume/fixtures.ts';

const lengthOf = (sizeBytes: number) => sizeBytes + 1;
const lengthBytes = lengthOf(sealed(1, ['n1']).sizeBytes);
const holder = (name: string) => ({ node: name, pool: poolOf(name) });

function file(layer: string, epoch: number, changes: Partial<Inspection['layers'][0]> = {}) {
  const written = { lengthBytes, allocatedBytes: 1, writtenAt: '2026-01-01T00:00:00Z' };
  return { volume: 'v', layer, epoch, ...written, ...changes };
}

/** What a node would find if the volume's record were all there is, and all of it were true. */
function truth(volume: Volume, name: string): Inspection {
  const pool = poolOf(name);
  const { tail, merge, garbage, chain } = volume;
  const layers: { id: string; epoch: number }[] = [...chain];
  if (tail.phase === 'open') layers.push(tail.layer);
  if (tail.phase === 'fencing') layers.push(tail.unsealed);
  if (tail.phase === 'opening') layers.push(tail.next, ...(tail.closing ? [tail.closing] : []));
  if (merge) layers.push({ id: merge.into, epoch: 1 });
  layers.push(...garbage.map((g) => ({ id: g.layer, epoch: g.epoch })));
  const held = layers.filter((l) => holdingOf(volume, l.id, pool) !== null);
  const serving = tail.phase === 'open' && tail.layer.writer === name ? [headOf(tail.layer)] : [];
  const member = tail.phase === 'open' && tail.layer.members.slice(1).some((m) => m.node === name);
  const exported = member ? [{ ...tail.layer, layer: tail.layer.id, writable: true }] : [];
  return {
    node: name,
    pool,
    boot: bootOf(name),
    layers: held.map((l) => file(l.id, l.epoch)),
    strays: [],
    fences: [],
    burnt: [],
    heads: serving,
    proxies: [],
    gateways: [],
    exports: exported.map(({ layer, epoch, writable }) => ({
      volume: 'v',
      layer,
      epoch,
      writable,
    })),
    spares: 1,
    quarantined: [],
  };
}

function headOf(layer: UnsealedLayer): Inspection['heads'][0] {
  const peers = layer.members.slice(1).map((m) => m.node);
  return { volume: 'v', layer: layer.id, epoch: layer.epoch, sessions: [], peers, sealed: [] };
}

type Change = {
  scene?: Partial<Scene>;
  /** What differs from the truth on a node. */
  on?: Record<string, Partial<Inspection>>;
};

function look(volume: Volume, { scene = {}, on = {} }: Change = {}): FsckFinding[] {
  const names = ['n1', 'n2', 'n3'];
  return compare({
    volumes: [volume],
    nodes: names.map((name) => node(name)),
    retired: [],
    inspections: names.map((name) => ({ ...truth(volume, name), ...on[name] })),
    silent: [],
    lengthOf,
    ...scene,
  });
}

const kinds = (findings: FsckFinding[]) => findings.map((f) => `${f.severity} ${f.kind}`);

const chain = [sealed(1, ['n1', 'n2']), sealed(2, ['n1', 'n2?', 'n3+'])];
const served = record({ attachments: [attachment('n1')], chain, tail: open(3, ['n1', 'n2']) });
const idle = record({ chain: [sealed(1, ['n1', 'n2'])] });
const garbage = (...names: string[]): Garbage[] => [
  { layer: 'old', epoch: 1, afterEpoch: 9, holders: names.map(holder) },
];
const merge: Merge = {
  layers: ['layer-1', 'layer-2'],
  into: 'merged',
  builder: 'n1',
  manifest: null,
  bytes: null,
  replicas: replicas('n1+'),
};

describe('a sound cluster shows nothing', () => {
  test.each<[string, Volume]>([
    ['empty', record()],
    ['idle', idle],
    ['served', served],
    ['being opened', record({ chain, tail: opening(unsealed(3, ['n1']), null) })],
    ['rolling', record({ tail: opening(unsealed(2, ['n1', 'n3']), unsealed(1, ['n1', 'n2'])) })],
    ['being taken over', record({ chain, tail: fencing('n2', 4, unsealed(3, ['n1', 'n2'])) })],
    ['merging', record({ chain: [sealed(1, ['n1']), sealed(2, ['n1'])], merge })],
    ['with old files to delete', record({ chain, garbage: garbage('n1', 'n3') })],
    ['being deleted', record({ tail: { phase: 'deleting' }, garbage: garbage('n2') })],
  ])('%s', (_, volume) => {
    expect(look(volume)).toEqual([]);
  });

  test('an unverified copy that has no file is filled when it is compared', () => {
    const layers = truth(served, 'n2').layers.filter((l) => l.layer !== 'layer-2');
    expect(look(served, { on: { n2: { layers } } })).toEqual([]);
  });

  test('a copy that is being filled has no file yet, or one that is not whole', () => {
    for (const layers of [[], [file('layer-2', 2, { lengthBytes: 7 })]]) {
      expect(look(served, { on: { n3: { layers } } })).toEqual([]);
    }
  });

  test('a mend refuses one epoch more than the newest', () => {
    const fences = [{ volume: 'v', epoch: idle.epoch + 1 }];
    expect(look(idle, { on: { n2: { fences } } })).toEqual([]);
  });
});

describe('files', () => {
  test('a clean copy without a file, and what is safe about it', () => {
    const findings = look(idle, { on: { n2: { layers: [] } } });
    expect(kinds(findings)).toEqual(['error copy-missing']);
    expect(findings[0]).toMatchObject({
      node: 'n2',
      volume: 'v',
      what: 'The clean copy of layer 1 of disk on n2 has no file.',
      action: expect.stringContaining('made from n1'),
      fix: { do: 'lose-copy', layer: 'layer-1', node: 'n2', pool: poolOf('n2'), path: null },
    });
  });

  test('a clean copy of the wrong length is put aside', () => {
    const layers = [file('layer-1', 1, { lengthBytes: 7 })];
    const findings = look(idle, { on: { n2: { layers } } });
    expect(kinds(findings)).toEqual(['error copy-length']);
    expect(findings[0]?.fix).toMatchObject({ do: 'lose-copy', path: 'volumes/v/1-layer-1.qcow2' });
  });

  test.each<[string, Change]>([
    ['all files are gone', { on: { n1: { layers: [] }, n2: { layers: [] } } }],
    [
      'the other node was not asked',
      { scene: { inspections: [{ ...truth(idle, 'n2'), layers: [] }] } },
    ],
  ])('nothing is repaired where %s', (_, change) => {
    const findings = look(idle, change).filter((f) => f.kind === 'copy-missing');
    expect(findings.length).toBeGreaterThan(0);
    expect(findings.map((f) => f.fix)).toEqual(findings.map(() => null));
  });

  test('a layer that is being written and has no file', () => {
    const [n1, n2] = ['n1', 'n2'].map((name) =>
      truth(served, name).layers.filter((l) => l.layer !== 'layer-3'),
    );
    const findings = look(served, { on: { n1: { layers: n1! }, n2: { layers: n2! } } });
    expect(kinds(findings)).toEqual(['error member-missing', 'error member-missing']);
    expect(findings[0]?.action).toMatch(/Restart nothing on n1/);
    expect(findings[1]?.action).toMatch(/volume seal disk/);
    expect(findings.map((f) => f.fix)).toEqual([null, null]);
  });

  test('a file of a volume without a record is put aside, never deleted', () => {
    const stranger = file('x', 4, { volume: 'w' });
    const findings = look(idle, { on: { n3: { layers: [stranger] } } });
    expect(kinds(findings)).toEqual(['warning file-unknown']);
    const path = layerPathOf('w', stranger);
    expect(findings[0]?.fix).toEqual({ do: 'quarantine', node: 'n3', path });
  });

  test.each([
    ['another layer', file('layer-9', 9)],
    ['a copy that is not recorded there', file('layer-1', 1)],
  ])('a file left over of a volume that is known: %s', (_, left) => {
    const findings = look(idle, { on: { n3: { layers: [left] } } });
    expect(kinds(findings)).toEqual(['warning file-left-over']);
    expect(findings[0]?.fix).toMatchObject({ do: 'quarantine', node: 'n3' });
  });

  test('something that is no layer', () => {
    const findings = look(idle, { on: { n1: { strays: ['volumes/v/notes.txt'] } } });
    expect(kinds(findings)).toEqual(['warning stray']);
    expect(findings[0]?.fix).toEqual({ do: 'quarantine', node: 'n1', path: 'volumes/v/notes.txt' });
  });

  test('what was put aside is a note', () => {
    const findings = look(idle, { on: { n1: { quarantined: ['a', 'b'] } } });
    expect(kinds(findings)).toEqual(['note quarantined']);
    expect(findings[0]?.what).toMatch(/^2 files in/);
  });
});

describe('what a record places in a pool', () => {
  const rolling = record({ tail: opening(unsealed(2, ['n1', 'n3']), unsealed(1, ['n1', 'n2'])) });

  test.each<[string, Volume, string, string, string | null]>([
    ['a sealed copy', idle, 'layer-1', 'n2', 'sealed'],
    ['no copy', idle, 'layer-1', 'n3', null],
    ['what is written', served, 'layer-3', 'n2', 'written'],
    ['what is closing', rolling, 'layer-1', 'n2', 'written'],
    ['what is opening', rolling, 'layer-2', 'n3', 'written'],
    ['what is opening elsewhere', rolling, 'layer-2', 'n2', null],
    ['the result of a merge', record({ chain, merge }), 'merged', 'n1', 'merging'],
    ['the result of a merge elsewhere', record({ chain, merge }), 'merged', 'n2', null],
    ['an old file', record({ chain, garbage: garbage('n3') }), 'old', 'n3', 'garbage'],
    ['an old file elsewhere', record({ chain, garbage: garbage('n3') }), 'old', 'n1', null],
  ])('%s', (_, volume, layer, where, holding) => {
    expect(holdingOf(volume, layer, poolOf(where))).toBe(holding);
  });
});

describe('processes', () => {
  test.each<[string, Volume, string, string]>([
    ['of an older epoch', served, 'n1', 'epoch 3 is written on n1'],
    ['on another node than the writer', served, 'n3', 'epoch 3 is written on n1'],
    ['of a volume that is idle', idle, 'n1', 'the volume is idle'],
  ])('a head %s', (_, volume, on, why) => {
    const old = headOf(unsealed(2, [on]));
    const heads = [...truth(volume, on).heads.filter(() => on !== 'n1'), old];
    const findings = look(volume, { on: { [on]: { heads } } });
    const wrong = findings.find((f) => f.kind === 'head-not-allowed');
    expect(wrong).toMatchObject({ severity: 'error', node: on, fix: null });
    expect(wrong?.why).toContain(why);
  });

  test('the old head of a roll is in order until the roll is confirmed', () => {
    const layer = unsealed(1, ['n1', 'n2']);
    const rolling = record({ tail: opening(unsealed(2, ['n1', 'n3']), layer) });
    expect(look(rolling, { on: { n1: { heads: [headOf(layer)] } } })).toEqual([]);
    const next = headOf(unsealed(2, ['n1', 'n3']));
    expect(kinds(look(rolling, { on: { n1: { heads: [next] } } }))).toEqual([
      'error head-not-allowed',
    ]);
  });

  test('a head of a volume without a record', () => {
    const stranger = { ...headOf(unsealed(1, ['n1'])), volume: 'w' };
    expect(kinds(look(idle, { on: { n1: { heads: [stranger] } } }))).toEqual([
      'error head-not-allowed',
    ]);
  });

  test('a second head of the layer that is written, elsewhere', () => {
    const findings = look(served, { on: { n3: { heads: [headOf(unsealed(3, ['n1']))] } } });
    expect(kinds(findings)).toEqual(['error head-not-allowed', 'error two-heads']);
    expect(findings[0]?.node).toBe('n3');
  });

  test('two heads', () => {
    const second = headOf(unsealed(3, ['n2']));
    const findings = look(served, { on: { n2: { heads: [second] } } });
    expect(kinds(findings)).toContain('error two-heads');
    expect(findings.find((f) => f.kind === 'two-heads')?.what).toContain('n1 and n2');
  });

  test('an open volume without a head', () => {
    expect(kinds(look(served, { on: { n1: { heads: [] } } }))).toEqual(['warning head-missing']);
    // In another boot its head cannot be there, and the volume is taken over.
    expect(look(served, { on: { n1: { heads: [], boot: 'later' } } })).toEqual([]);
  });

  test('a layer that was opened before it was recorded as open', () => {
    const volume = record({ tail: opening(unsealed(1, ['n1']), null) });
    expect(kinds(look(volume, { on: { n1: { burnt: ['layer-1'] } } }))).toEqual([
      'error burnt-before-open',
    ]);
    expect(look(served, { on: { n1: { burnt: ['layer-1', 'layer-3'] } } })).toEqual([]);
  });

  test.each<[string, Volume, Inspection['exports'][0]]>([
    ['sealed', served, { volume: 'v', layer: 'layer-1', epoch: 1, writable: true }],
    ['written elsewhere', served, { volume: 'v', layer: 'layer-3', epoch: 3, writable: true }],
    ['unknown', idle, { volume: 'v', layer: 'layer-9', epoch: 9, writable: false }],
    ['of an unknown volume', idle, { volume: 'w', layer: 'layer-1', epoch: 1, writable: false }],
  ])('an export of a layer that is %s', (_, volume, exported) => {
    expect(kinds(look(volume, { on: { n3: { exports: [exported] } } }))).toEqual([
      'warning export-not-allowed',
    ]);
  });

  test('an export for writing of a copy that is sealed there', () => {
    const exports = [{ volume: 'v', layer: 'layer-1', epoch: 1, writable: true }];
    expect(kinds(look(idle, { on: { n2: { exports } } }))).toEqual(['warning export-not-allowed']);
  });

  test('an export of a sealed layer for reading is in order', () => {
    const exports = [{ volume: 'v', layer: 'layer-1', epoch: 1, writable: false }];
    expect(look(idle, { on: { n2: { exports } } })).toEqual([]);
  });

  test('proxies and gateways of sessions that ended, or to where the head was', () => {
    const both = record({
      attachments: [attachment('n1'), attachment('n3')],
      tail: open(1, ['n1', 'n2']),
    });
    const proxy = { volume: 'v', session: 'session-n3', headNode: 'n1' };
    const gateway = { volume: 'v', session: 'session-n3' };
    const right = { n1: { gateways: [gateway] }, n3: { proxies: [proxy] } };
    expect(look(both, { on: right })).toEqual([]);
    expect(kinds(look(served, { on: right }))).toEqual([
      'warning gateway-stale',
      'warning proxy-stale',
    ]);
    const moved = { n3: { proxies: [{ ...proxy, headNode: 'n2' }] } };
    expect(kinds(look(both, { on: moved }))).toEqual(['warning proxy-stale']);
  });

  test('a block device whose attachment is gone', () => {
    const both = record({
      attachments: [attachment('n1'), attachment('n3')],
      tail: open(1, ['n1', 'n2']),
    });
    const devices = [{ volume: 'v', session: 'session-n1' }];
    expect(look(both, { on: { n1: { devices } } })).toEqual([]);
    expect(kinds(look(both, { on: { n3: { devices } } }))).toEqual(['warning device-stale']);
  });

  test('a promise to refuse epochs that the record has not come to', () => {
    const fences = [{ volume: 'v', epoch: idle.epoch + 2 }];
    const findings = look(idle, { on: { n2: { fences } } });
    expect(kinds(findings)).toEqual(['error fence-above-record']);
    expect(findings[0]?.why).toContain('set back');
    const gone = [{ volume: 'w', epoch: 5 }];
    expect(kinds(look(idle, { on: { n2: { fences: gone } } }))).toEqual(['note fence-left-over']);
  });
});

describe('records', () => {
  test('one that breaks an invariant', () => {
    const broken = record({ chain: [sealed(1, ['n1?'])] });
    const findings = look(broken);
    expect(kinds(findings)).toEqual(['error record-broken']);
    expect(findings[0]?.what).toContain('has no clean copy (rule 7)');
  });

  test('an attachment on a host that is no node', () => {
    const volume = record({ attachments: [attachment('n9')] });
    const findings = look(volume);
    expect(kinds(findings)).toEqual(['warning host-unknown']);
    expect(findings[0]?.action).toBe('hscli volume detach disk --node n9 --force');
  });

  test('a copy in a pool that no node has', () => {
    const volume = record({ chain: [sealed(1, ['n1', 'n9']), sealed(2, ['n9'])] });
    const findings = look(volume);
    expect(kinds(findings)).toEqual(['error pool-unknown', 'warning pool-unknown']);
    expect(findings[0]).toMatchObject({ fix: null, action: expect.stringContaining('force disk') });
    expect(findings[1]?.fix).toMatchObject({ do: 'lose-copy', layer: 'layer-1', node: 'n9' });
  });

  test('a copy in a pool that was taken out', () => {
    const retired = [holder('n2')];
    const findings = look(idle, { scene: { retired } });
    expect(kinds(findings)).toEqual(['warning pool-unknown']);
  });

  test('a member of what is written in a pool that no node has', () => {
    const volume = record({ attachments: [attachment('n1')], tail: open(1, ['n1', 'n9']) });
    expect(kinds(look(volume))).toEqual(['warning member-unknown']);
  });

  test('old files that nobody will delete, and that wait for a node', () => {
    const volume = record({ chain: [sealed(1, ['n1'])], garbage: garbage('n2', 'n9') });
    const nodes = [node('n1'), node('n2', { up: false }), node('n3')];
    const inspections = ['n1', 'n3'].map((name) => truth(volume, name));
    const findings = look(volume, { scene: { nodes, inspections } });
    expect(kinds(findings)).toEqual([
      'warning garbage-for-nobody',
      'note garbage-waits',
      'note node-not-checked',
    ]);
    expect(findings[0]?.fix).toEqual({ do: 'retire', volume: 'v', node: 'n9', pool: poolOf('n9') });
    expect(findings[1]?.what).toBe('1 old file of disk to be deleted on n2.');
  });

  test('two volumes of one name', () => {
    const findings = look(idle, { scene: { volumes: [idle, { ...idle, id: 'w', chain: [] }] } });
    expect(kinds(findings)).toEqual(['error name-shared']);
    const tombstone: Volume = { ...idle, id: 'w', chain: [], tail: { phase: 'deleting' } };
    expect(look(idle, { scene: { volumes: [idle, tombstone] } })).toEqual([]);
  });

  test('nodes that are silent or work with another pool', () => {
    const inspections = [
      { ...truth(idle, 'n1') },
      { ...truth(idle, 'n3'), pool: 'other', layers: [] },
    ];
    const silent = [{ node: 'n2', why: 'it said no' }];
    const findings = look(idle, { scene: { inspections, silent } });
    expect(kinds(findings)).toEqual(['error pool-differs', 'warning node-silent']);
    expect(findings[1]?.why).toContain('it said no');
  });
});

describe('a second look', () => {
  const suspicion = look(idle, { on: { n2: { layers: [] } } });

  test('confirms what is the same in a record that did not change', () => {
    expect(confirmed(suspicion, suspicion, new Set())).toEqual(suspicion);
    expect(suspected(suspicion)).toEqual(new Set(['v']));
  });

  test('drops what was there once, or in a record that changed', () => {
    expect(confirmed(suspicion, [], new Set())).toEqual([]);
    expect(confirmed([], suspicion, new Set())).toEqual([]);
    expect(confirmed(suspicion, suspicion, new Set(['v']))).toEqual([]);
    expect(confirmed(suspicion, suspicion, new Set(['w']))).toEqual(suspicion);
  });

  test('does not take one file for another', () => {
    const other = look(idle, { on: { n1: { layers: [] } } });
    expect(confirmed(suspicion, other, new Set())).toEqual([]);
  });

  test('what never stands still is told, as a note', () => {
    expect(unsettled(idle)).toMatchObject({ severity: 'note', volume: 'v', fix: null });
  });
});

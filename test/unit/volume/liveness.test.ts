/**
 * After any history, once all nodes are up and nothing fails any more, every node doing its duties
 * brings the volume to rest: written to its full write set where it is attached, all copies proven
 * and in their places, and nothing left to do. Nodes take turns in any order.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { builtInPolicies, copiesWanted } from '../../../src/volume/policy.ts';
import type { SealedLayer } from '../../../src/volume/types.ts';
import { World } from './world.ts';
import { checkWorld } from './world-checks.ts';
import { takeTurn } from './world-duties.ts';
import { live, steps } from './world-history.ts';

const history = fc.record({
  size: fc.constantFrom(4, 5),
  policy: fc.constantFrom(...builtInPolicies).map((p) => ({ ...p, maxLayers: 4 })),
  taken: steps(120),
  headsSurvive: fc.boolean(),
  order: fc.infiniteStream(fc.nat()),
});

/** The longest of some thousand histories needed 67. */
const mostTurns = 200;

/** Lets nodes take turns until none has anything to do; what they did. */
function settle(world: World, order: Iterator<number>): string[] {
  const done: string[] = [];
  let idle = new Set<string>();
  while (idle.size < world.nodes.length) {
    const waiting = world.nodes.filter((n) => !idle.has(n.name));
    const node = waiting[order.next().value % waiting.length];
    if (node === undefined) break;
    const what = takeTurn(world, node);
    checkWorld(world);
    if (what === null) idle.add(node.name);
    else {
      idle = new Set();
      done.push(what);
    }
    if (done.length > mostTurns) {
      throw new Error(`no rest after ${mostTurns} turns, at last:\n${done.slice(-40).join('\n')}`);
    }
  }
  return done;
}

function expectRest(world: World): void {
  const { record } = world;
  const { tail, chain, attachments, policy, garbage } = record;
  expect(record.merge).toBeNull();
  if (tail.phase === 'deleting') {
    expect(garbage).toEqual([]);
    return;
  }
  const wanted = copiesWanted(policy);
  const writer = tail.phase === 'open' ? tail.layer.writer : null;
  expect(tail.phase).toBe(attachments.length > 0 ? 'open' : 'idle');
  const holds = (layer: SealedLayer) => layer.replicas.map((r) => r.node);
  expect(chain.length).toBeLessThanOrEqual(policy.maxLayers);
  for (const layer of chain) {
    expect(layer.manifest).not.toBeNull();
    expect(layer.replicas.map((r) => r.state)).toEqual(layer.replicas.map(() => 'clean'));
    expect(layer.replicas.length).toBeGreaterThanOrEqual(wanted);
    if (writer !== null) expect(holds(layer)).toContain(writer);
  }
  if (tail.phase !== 'open') {
    expect(garbage).toEqual([]);
    expect(world.heads.filter((h) => h.alive)).toEqual([]);
    return;
  }
  const { layer } = tail;
  expect(garbage.filter((g) => g.afterEpoch < layer.epoch)).toEqual([]);
  expect(layer.members.length).toBeGreaterThanOrEqual(wanted);
  const [head, ...others] = world.heads.filter((h) => h.alive);
  expect(others).toEqual([]);
  expect(head?.layer).toEqual(layer);
  expect(head && world.canAcknowledge(head)).toBe(true);
  expect(head?.sources.filter((s) => s.from !== writer)).toEqual([]);
  expect(head?.sessions.toSorted()).toEqual(attachments.map((a) => a.session).toSorted());
  expect(attachments.map((a) => a.host)).toContain(writer);
  for (const { host, session, boot } of attachments) {
    const node = world.node(host);
    expect(node.boot).toBe(boot);
    const proxy = { session, headNode: writer, epoch: layer?.epoch };
    expect(node.proxy).toEqual(host === writer ? null : proxy);
    if (host !== writer) expect(world.node(layer.writer).gateways).toContain(session);
  }
}

test('every history comes to rest when the failures end', () => {
  const property = fc.property(history, ({ size, policy, taken, headsSurvive, order }) => {
    const world = new World(size, policy);
    live(world, taken);
    for (const node of world.nodes) {
      world.endAgent(node);
      node.up = true;
    }
    if (!headsSurvive) for (const head of world.heads) if (head.alive) world.kill(head);
    settle(world, order);
    expectRest(world);
  });
  const numRuns = Number(process.env.RUNS ?? 150);
  fc.assert(property, { numRuns, interruptAfterTimeLimit: Math.max(10_000, numRuns * 20) });
}, 600_000);

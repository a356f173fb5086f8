/** What must hold in the small world, after every step and for every change of the record. */
import { assertRecord, assertStep } from '../../../src/volume/invariants.ts';
import { copiesWanted } from '../../../src/volume/policy.ts';
import { cleanReplicas, unsealedLayer } from '../../../src/volume/queries.ts';
import type { Volume } from '../../../src/volume/types.ts';
import type { World } from './world.ts';
import { blockCount } from './world-types.ts';

function must(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Error(text);
}

/** What one sees through layers that lie upon each other, oldest first. */
export function overlay(layers: readonly (readonly number[])[]): number[] {
  return Array.from({ length: blockCount }, (_, block) => {
    const newest = layers.findLast((content) => (content[block] ?? 0) !== 0);
    return newest?.[block] ?? 0;
  });
}

/** The rules of the record itself, and that no change gives up redundancy. */
export function checkChange(before: Volume, after: Volume): void {
  assertRecord(after);
  assertStep(before, after);
  if (after.tail.phase === 'deleting') return;
  const wanted = copiesWanted(after.policy);
  const copies = new Map(before.chain.map((l) => [l.id, cleanReplicas(l).length]));
  const merged = before.merge?.layers.map((id) => copies.get(id) ?? 0) ?? [];
  for (const layer of after.chain) {
    const was = copies.get(layer.id) ?? (layer.id === before.merge?.into ? Math.min(...merged) : 1);
    const now = cleanReplicas(layer).length;
    must(now >= Math.min(was, wanted), `layer ${layer.id} had ${was} clean copies and has ${now}`);
  }
}

/** From its seal on, a layer holds what its authority held then; a merge what its run showed. */
export function learnSealed(world: World, before: Volume): void {
  for (const { id, authority } of world.record.chain) {
    if (world.sealed.has(id)) continue;
    const merge = before.merge?.into === id ? before.merge : null;
    const run = merge?.layers.map((l) => world.sealed.get(l) ?? []);
    const copy = world.node(authority).disk.get(id);
    must(run !== undefined || copy !== undefined, `the authority of ${id} holds nothing`);
    world.sealed.set(id, run === undefined ? [...(copy?.cached ?? [])] : overlay(run));
  }
}

/** Everything that must hold between two steps. */
export function checkWorld(world: World): void {
  if (world.record.tail.phase === 'deleting') return;
  checkCopies(world);
  checkAcknowledged(world);
  checkHeads(world);
}

/** All clean copies of a layer hold the same, for ever, on stable storage. */
function checkCopies(world: World): void {
  const { chain, merge } = world.record;
  const run = merge?.layers.map((l) => world.sealed.get(l) ?? []);
  const layers = chain.map((l) => ({ ...l, content: world.sealed.get(l.id) ?? [] }));
  const result = merge && run ? [{ ...merge, id: merge.into, content: overlay(run) }] : [];
  for (const layer of [...layers, ...result]) {
    const expected = layer.content.join();
    must(layer.manifest === null || layer.manifest === expected, `the manifest of ${layer.id}`);
    for (const { node } of cleanReplicas(layer)) {
      const copy = world.node(node).disk.get(layer.id);
      must(copy !== undefined, `${node} lists a clean copy of ${layer.id} and has no file`);
      const held = `${copy.cached.join()} (stable ${copy.stable.join()})`;
      const same = copy.cached.join() === expected && copy.stable.join() === expected;
      must(same, `${node} holds ${held} in clean ${layer.id}, which is ${expected}`);
    }
  }
}

/** Every acknowledged write is seen, whichever member of the layer not yet sealed is asked. */
function checkAcknowledged(world: World): void {
  const below = world.record.chain.map((l) => world.sealed.get(l.id) ?? []);
  const layer = unsealedLayer(world.record);
  const tops =
    layer === null
      ? [{ node: 'the chain', content: [] as number[] }]
      : layer.members
          .filter((m) => !world.lossy.has(`${m.node}/${layer.id}`))
          .map(({ node }) => ({
            node,
            content: world.node(node).disk.get(layer.id)?.cached ?? [],
          }));
  for (const { node, content } of tops) {
    const seen = overlay([...below, content]);
    world.acknowledged.forEach((number, block) => {
      const shown = seen[block] ?? 0;
      must(shown >= number, `write ${number} of block ${block} is lost: ${node} shows ${shown}`);
    });
  }
}

/** One head at most can acknowledge, in the layer of the record, and it reads what is sealed. */
function checkHeads(world: World): void {
  const layer = unsealedLayer(world.record);
  const able = world.heads.filter((h) => world.canAcknowledge(h));
  must(able.length <= 1, `${able.length} heads can acknowledge`);
  for (const head of able) {
    must(
      head.layer.id === layer?.id,
      `${head.node} can acknowledge in superseded ${head.layer.id}`,
    );
  }
  const { tail } = world.record;
  const current = tail.phase === 'open' || tail.phase === 'opening';
  for (const head of world.heads) {
    if (!head.alive || !current || head.layer.id !== layer?.id) continue;
    for (const source of head.sources) {
      const held = world.node(source.from).disk.get(source.layer)?.cached.join();
      const expected = world.sealed.get(source.layer)?.join();
      must(held === expected, `the head reads ${held} of ${source.layer} on ${source.from}`);
    }
  }
}

/** Histories of the small world, made by chance, and how they are lived through. */
import fc from 'fast-check';
import type { Volume } from '../../../src/volume/types.ts';
import type { World } from './world.ts';
import { actions, type Kind, pick, upNodes } from './world-actions.ts';
import { checkWorld } from './world-checks.ts';
import type { WorldNode } from './world-types.ts';

/** How often each kind is tried. */
const weights: Record<Kind, number> = {
  advance: 24,
  write: 14,
  reach: 24,
  acknowledge: 16,
  attach: 2,
  detach: 1,
  open: 3,
  roll: 3,
  extend: 1.5,
  complete: 5,
  'start-head': 1,
  close: 0.5,
  fence: 1.5,
  'take-over': 3,
  abandon: 1,
  job: 14,
  'add-copy': 3,
  'drop-copy': 5,
  'begin-merge': 6,
  'complete-merge': 3,
  'abandon-merge': 1,
  'kill-head': 1,
  crash: 2.5,
  reboot: 5,
  'restart-agent': 1,
  'late-swap': 2,
  delete: 0.2,
};
/** `a` chooses who, `b` and `c` the rest. */
export type Step = { kind: Kind; a: number; b: number; c: number };

const small = fc.nat({ max: 59 });
const kinds = (Object.keys(weights) as Kind[]).map((kind) => ({
  weight: weights[kind] * 20,
  arbitrary: fc.constant(kind),
}));
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(...kinds),
  a: small,
  b: small,
  c: small,
});

export function steps(length: number): fc.Arbitrary<Step[]> {
  return fc.array(step, { minLength: length / 2, maxLength: length, size: 'max' });
}

/**
 * Takes the steps in turn and checks the world after each. Where one is not possible, whatever
 * brings the volume on happens instead, so that histories get somewhere.
 * @throws what a check throws, with the history that led there.
 */
export function live(world: World, taken: readonly Step[]): void {
  const history: string[] = [];
  const happens = (kind: Kind, node: WorldNode | undefined, b: number, c: number) => {
    if (node === undefined || !actions[kind](world, node, b, c)) return false;
    const { tail, epoch } = world.record;
    history.push(`${kind} (${node.name} ${b} ${c}): ${tail.phase} ${epoch}`);
    return true;
  };
  try {
    for (const { kind, a, b, c } of taken) {
      world.dice = c;
      const among = kind === 'crash' || kind === 'reboot' ? world.nodes : upNodes(world);
      const next = onward[world.record.tail.phase];
      // Agents under way go on before anything new begins, except now and then.
      const kinds = c % 4 > 0 ? [kind, 'advance' as const, ...next] : [kind, ...next];
      kinds.some((k, i) => happens(k, pick(i === 0 ? among : upNodes(world), a), b, c));
      checkWorld(world);
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${text}\n${history.join('\n')}`, { cause: error });
  }
}

/** What brings a volume on in each phase. */
const onward: Record<Volume['tail']['phase'], Kind[]> = {
  idle: ['complete-merge', 'job', 'open', 'attach'],
  opening: ['complete', 'fence'],
  open: [
    'write',
    'acknowledge',
    'reach',
    'complete-merge',
    'job',
    'start-head',
    'begin-merge',
    'fence',
  ],
  fencing: ['take-over', 'fence'],
  deleting: ['job'],
};

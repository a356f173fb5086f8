/**
 * Is what clients saw of one block possible, if it was one register? The search of Wing and Gong
 * with Lowe's memory of visited states: it looks for an order of all operations in which each takes
 * effect at one moment between its call and its answer, and every read sees the last write.
 *
 * A disk promises a little less than that: until a write is answered, it may be seen, and be gone
 * again when the process that held it died (`mayVanish`). Once answered it stays.
 */
import type { Operation } from './history.ts';

/** How often one write may be seen and gone again before it is answered. */
const vanishes = 2;
/** Beyond this many states the search is given up; a history of one block needs a few thousand. */
const mostStates = 2_000_000;

type Step = {
  effect: 'write' | 'read' | 'vanish';
  value: number;
  from: number;
  to: number;
  /** It happened for certain; others may or may not have. */
  certain: boolean;
  /** Which step is the last time that this write takes effect: what is answered stays. */
  last: number;
  operation: Operation;
};

/** `value` is what a read sees; `under` what it would see if the last write had not been. */
type State = {
  /** All steps before this one are done, or can not happen any more. */
  base: number;
  /** Steps from `base` on that are done, ascending. */
  done: readonly number[];
  /** The latest call of a step that is done: what was over by then cannot happen now. */
  latest: number;
  certainDone: number;
  value: number;
  under: number;
};

export type Verdict =
  | { right: true; vanished: boolean }
  /** `stuck`: operations of which none can be next, after the longest order that was found. */
  | { right: false; why: string; stuck: readonly Operation[] };

/**
 * Judges all operations on one block, whose content was `initial` before them. `vanished` tells
 * that the history is only possible because an unanswered write was seen and lost.
 */
export function judge(operations: readonly Operation[], initial = 0): Verdict {
  const foreign = operations.find((read) => {
    if (read.kind === 'write' || read.value === initial) return false;
    return !operations.some((write) => write.kind === 'write' && write.value === read.value);
  });
  if (foreign !== undefined) {
    const why = 'a read saw what nobody wrote to this block';
    return { right: false, why, stuck: [foreign] };
  }
  const strict = search(stepsOf(operations, false), initial);
  if (strict === null) return { right: true, vanished: false };
  const lenient = search(stepsOf(operations, true), initial);
  if (lenient === null) return { right: true, vanished: true };
  return { right: false, ...lenient };
}

function stepsOf(operations: readonly Operation[], mayVanish: boolean): Step[] {
  const steps: Step[] = [];
  for (const operation of operations) {
    const { kind, value, invoked: from, completed: to, acknowledged } = operation;
    steps.push({ effect: kind, value, from, to, certain: acknowledged, last: -1, operation });
    for (let time = 0; mayVanish && kind === 'write' && time < vanishes; time += 1) {
      steps.push({ effect: 'write', value, from, to, certain: false, last: -1, operation });
      steps.push({ effect: 'vanish', value, from, to, certain: false, last: -1, operation });
    }
  }
  steps.sort((a, b) => a.from - b.from);
  const certain = new Map(steps.map((step, index) => [step.certain && step.operation, index]));
  for (const step of steps) if (!step.certain) step.last = certain.get(step.operation) ?? -1;
  return steps;
}

/** Looks for an order; null when there is one, else where the search came to its end. */
function search(
  steps: readonly Step[],
  initial: number,
): { why: string; stuck: readonly Operation[] } | null {
  const certain = steps.filter((step) => step.certain).length;
  const first: State = {
    base: 0,
    done: [],
    latest: Number.NEGATIVE_INFINITY,
    certainDone: 0,
    value: initial,
    under: initial,
  };
  const seen = new Set<string>();
  const stack = [first];
  let longest = first;
  for (let state = stack.pop(); state !== undefined; state = stack.pop()) {
    if (state.certainDone === certain) return null;
    if (state.certainDone > longest.certainDone) longest = state;
    if (seen.size > mostStates) return { why: 'the search was given up', stuck: [] };
    const possible = candidates(steps, state);
    // Reads go first: they change nothing, so most often they are right where they are.
    possible.sort(
      (a, b) => Number(steps[a]?.effect === 'read') - Number(steps[b]?.effect === 'read'),
    );
    for (const index of possible) {
      const next = apply(steps, state, index);
      if (next === null) continue;
      const key = `${next.base},${next.done.join('+')},${next.value},${next.under}`;
      if (seen.has(key)) continue;
      seen.add(key);
      stack.push(next);
    }
  }
  const stuck = candidates(steps, longest).map((index) => steps[index]?.operation);
  return {
    why: `after ${longest.certainDone} of ${certain} operations the block holds ${longest.value}, and none of these can be next`,
    stuck: [...new Set(stuck)].filter((operation) => operation !== undefined),
  };
}

/** Steps that no step before them in time keeps from being next. */
function candidates(steps: readonly Step[], state: State): number[] {
  const found: number[] = [];
  let horizon = Number.POSITIVE_INFINITY;
  for (let index = state.base; index < steps.length; index += 1) {
    const step = steps[index];
    if (step === undefined || step.from > horizon) break;
    if (state.done.includes(index)) continue;
    if (step.certain) horizon = Math.min(horizon, step.to);
    const answered = step.last >= 0 && (step.last < state.base || state.done.includes(step.last));
    if (step.to >= state.latest && !answered) found.push(index);
  }
  return found.filter((index) => (steps[index]?.from ?? 0) <= horizon);
}

/** The state after a step; null when it does not fit. */
function apply(steps: readonly Step[], state: State, index: number): State | null {
  const step = steps[index];
  if (step === undefined) return null;
  let { value, under } = state;
  switch (step.effect) {
    case 'write':
      if (value !== step.value) under = value;
      value = step.value;
      break;
    case 'read':
      if (value !== step.value) return null;
      break;
    case 'vanish':
      if (value !== step.value) return null;
      value = under;
      break;
  }
  const latest = Math.max(state.latest, step.from);
  const done = new Set([...state.done, index]);
  let { base } = state;
  for (; base < steps.length; base += 1) {
    const passed = steps[base];
    const impossible = passed !== undefined && !passed.certain && passed.to < latest;
    if (!done.delete(base) && !impossible) break;
  }
  return {
    base,
    done: [...done].sort((a, b) => a - b),
    latest,
    certainDone: state.certainDone + (step.certain ? 1 : 0),
    value,
    under,
  };
}

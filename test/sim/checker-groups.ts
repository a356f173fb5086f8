/** Snapshots of several volumes that were made together show them at one instant. */
import type { Volume } from '../../src/volume/types.ts';
import { type Checks, type Known, short } from './checker-known.ts';
import { rotten } from './disk.ts';

/** What one volume of a group shows, for ever. */
type Part = {
  known: Known;
  generation: number;
  name: string;
  shown: readonly number[];
  /** From when on nothing was acknowledged that it does not show, milliseconds. */
  heldFrom: number;
  recordedAt: number;
};

/** Every group snapshot of a history, by its id. */
export class Groups {
  readonly #checker: Checks;
  readonly #parts = new Map<string, Part[]>();
  /** When the head of a layer ended, by layer id. */
  readonly #ended = new Map<string, number>();
  /** When heads started, by volume. */
  readonly #started = new Map<string, number[]>();

  constructor(checker: Checks) {
    this.#checker = checker;
  }

  headStarted(volume: string, at: number): void {
    this.#started.set(volume, [...(this.#started.get(volume) ?? []), at]);
  }

  headEnded(layer: string, at: number): void {
    this.#ended.set(layer, at);
  }

  /** A snapshot of a group was recorded: holds it against those that were recorded before. */
  add(
    group: string,
    { known, name, shown }: Pick<Part, 'known' | 'name' | 'shown'>,
    next: Volume,
    now: number,
  ): void {
    const parts = this.#parts.get(group) ?? [];
    this.#parts.set(group, parts);
    const { generation } = known.history;
    const top = next.tail.phase === 'open' ? next.chain.at(-1)?.id : undefined;
    const heldFrom = top === undefined ? now : (this.#ended.get(top) ?? now);
    parts.push({ known, generation, name, shown, heldFrom, recordedAt: now });
    const newest = Math.max(...parts.flatMap((part) => part.shown.map(newness)));
    for (const part of parts) this.#check(part, newest);
  }

  /** It was answered: there was an instant at which nobody served any of the volumes. */
  given(group: string): void {
    const parts = this.#parts.get(group) ?? [];
    const heldUntil = parts.map(({ known, recordedAt }) => {
      const started = this.#started.get(known.id) ?? [];
      return started.find((at) => at > recordedAt) ?? Infinity;
    });
    const from = Math.max(...parts.map((part) => part.heldFrom));
    const until = Math.min(...heldUntil);
    if (from <= until) return;
    const [first] = parts;
    this.#checker.fail(
      `a volume of group ${first?.name} was served again at ${until} ms, and another one until ${from} ms`,
    );
  }

  /** What was acknowledged before something that the group shows was issued, is shown too. */
  #check({ known, generation, name, shown }: Part, newest: number): void {
    const { history } = known;
    if (history.generation !== generation) return;
    for (const [block, value] of shown.entries()) {
      const wrong = history.wrong(block, value, history.floorBefore(block, newest));
      if (wrong === null) continue;
      this.#checker.fail(
        `snapshot ${name} of ${short(known.id)} shows ${wrong} in block ${block}, and its group shows write ${newest}`,
      );
    }
  }
}

/** The number of the write that a block shows. */
function newness(value: number): number {
  return value === rotten ? 0 : Math.abs(value);
}

import type { Random } from './core.ts';

/** Mulberry32: 32 bits of state, good enough to choose among histories, and fast. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    // Seeds that follow each other shall not begin alike.
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
    for (let i = 0; i < 4; i += 1) this.#next();
  }

  int(least: number, most: number): number {
    return least + Math.floor((this.#next() / 0x1_0000_0000) * (most - least + 1));
  }

  chance(p: number): boolean {
    return this.#next() < p * 0x1_0000_0000;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)] as T;
  }

  hex(digits: number): string {
    let text = '';
    while (text.length < digits) text += this.#next().toString(16).padStart(8, '0');
    return text.slice(0, digits);
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
}

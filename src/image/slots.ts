import { HyperscaleError } from '../errors.ts';

/** Imports on one node at a time; each takes a processor, and twice its space. */
const mostImports = 4;

const words = { import: 'imported', restore: 'restored' } as const;

/** Bounds how many imports, or restores, are under way, and lets only one have a name. */
export class ImportSlots {
  readonly #kind: keyof typeof words;
  readonly #names = new Set<string>();

  constructor(kind: keyof typeof words = 'import') {
    this.#kind = kind;
  }

  /** @throws `unavailable` when too many are under way, `conflict` when one has the name */
  async during<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#names.has(name)) {
      throw new HyperscaleError('conflict', `${name} is being ${words[this.#kind]} here already`, {
        hint: 'Wait for it, or choose another name.',
      });
    }
    if (this.#names.size >= mostImports) {
      throw new HyperscaleError(
        'unavailable',
        `${this.#names.size} ${this.#kind}s are under way on this node, which is the most`,
        { hint: 'Wait for one of them, or ask another node.' },
      );
    }
    this.#names.add(name);
    try {
      return await work();
    } finally {
      this.#names.delete(name);
    }
  }
}

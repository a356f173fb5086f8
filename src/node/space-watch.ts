import { usedPercent } from '../volume/placement.ts';
import { type PoolLevel, type PoolLimits, poolLevel, unrepairable } from '../volume/space-room.ts';
import type { NodeView } from '../volume/types.ts';
import type { Context } from './context.ts';

/**
 * Tells when pools become full, and when they have room again. How full a pool was is not remembered
 * over a restart: what is full then is told again.
 */
export class SpaceWatch {
  readonly #context: Context;
  readonly #limits: PoolLimits;
  readonly #levels = new Map<string, PoolLevel>();
  /** Nodes whose loss there was no room for when it was looked last. */
  #lacking = new Set<string>();
  #off: (() => void) | undefined;

  constructor(context: Context, limits: PoolLimits) {
    this.#context = context;
    this.#limits = limits;
  }

  start(): void {
    const { store } = this.#context;
    for (const node of store.nodes()) this.#look(node);
    this.#off = store.onChange((change) => {
      if (change.kind !== 'node') return;
      if (change.node === null) this.#levels.delete(change.name);
      else this.#look(change.node);
      this.#lookForRoom();
    });
    this.#lookForRoom();
  }

  stop(): void {
    this.#off?.();
  }

  /** As it was told last. */
  level(node: string): PoolLevel {
    return this.#levels.get(node) ?? 'ok';
  }

  /** Whether what a node holds could be made again elsewhere; told when that changes. */
  #lookForRoom(): void {
    const { store, events } = this.#context;
    const volumes = store.volumes().map(({ value }) => value);
    const found = unrepairable(volumes, store.nodes(), this.#lacking);
    const names = new Set(found.map(({ node }) => node));
    for (const node of names) {
      if (this.#lacking.has(node)) continue;
      events.emit(
        'pool.no-room-for-repair',
        `If ${node} were lost, there is no room for its copies.`,
        {
          values: { node },
        },
      );
    }
    for (const node of this.#lacking) {
      if (names.has(node) || store.node(node) === undefined) continue;
      events.emit(
        'pool.room-for-repair',
        `If ${node} were lost, there is room for its copies again.`,
        {
          values: { node },
        },
      );
    }
    this.#lacking = names;
  }

  #look(node: NodeView): void {
    const before = this.level(node.name);
    const now = poolLevel(node, before, this.#limits);
    if (now === before) return;
    this.#levels.set(node.name, now);
    const { warnPercent, criticalPercent } = this.#limits;
    const full = `The pool of ${node.name} is ${usedPercent(node)} full`;
    const text = {
      ok: `${full}: below ${warnPercent} % again.`,
      warn: `${full}, more than ${warnPercent} %.`,
      critical: `${full}, more than ${criticalPercent} %: guests that write there may be stopped.`,
    }[now];
    const type = { ok: 'pool.relieved', warn: 'pool.filling', critical: 'pool.critical' }[now];
    this.#context.events.emit(type, text, { values: { node: node.name } });
  }
}

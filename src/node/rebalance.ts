import { coordinatorOf } from '../cluster/coordinator.ts';
import { type Move, nextMove, nodesAtWork } from '../cluster/rebalance.ts';
import { errorText } from '../errors.ts';
import type { Agent } from './agent.ts';
import { failureLevel } from './failure-level.ts';

export type RebalanceTimes = {
  /** How often it is looked whether pools differ. */
  lookMs: number;
  /**
   * A node is left alone so long after copies came or went there: longer than it takes until all
   * nodes know its free space, and than two looks are apart.
   */
  settleMs: number;
};
const usualTimes: RebalanceTimes = { lookMs: 30_000, settleMs: 45_000 };

/**
 * Moves copies from full pools to empty ones, one at a time for each of the two nodes. All nodes
 * plan the same move; the one that plans the volume's copies begins it. How fast the copy is made
 * is the matter of the background work (`isLeisurely`).
 */
export class Rebalance {
  readonly #agent: Pick<Agent, 'context' | 'worker'>;
  readonly #percent: number;
  readonly #times: RebalanceTimes;
  readonly #atWork = new Map<string, number>();
  readonly #ends: (() => void)[] = [];
  #stopped = false;

  /** @param percent how many percentage points fuller a pool has to be; 0: never. */
  constructor(agent: Pick<Agent, 'context' | 'worker'>, percent: number, times = usualTimes) {
    this.#times = times;
    this.#agent = agent;
    this.#percent = percent;
  }

  start(): void {
    if (this.#percent === 0) return;
    const { store, environment } = this.#agent.context;
    const { lookMs } = this.#times;
    this.#ends.push(
      store.onChange((change) => {
        if (change.kind === 'volume' && change.volume !== null) this.#note(change.volume.value);
      }),
    );
    const look = () => {
      if (this.#stopped) return;
      this.#look().catch((error: unknown) => {
        const { log } = this.#agent.context;
        const level = failureLevel(error, 'conflict', 'not-found');
        log[level]({ error: errorText(error) }, 'a copy could not be moved');
      });
      environment.after(lookMs, look);
    };
    environment.after(lookMs, look);
  }

  stop(): void {
    this.#stopped = true;
    for (const end of this.#ends) end();
  }

  #note(volume: Parameters<typeof nodesAtWork>[0]): void {
    const now = this.#agent.context.environment.monotonic();
    for (const node of nodesAtWork(volume)) this.#atWork.set(node, now);
  }

  async #look(): Promise<void> {
    const { context } = this.#agent;
    if (!context.leasesKnown() || context.store.quarantine() !== null) return;
    const move = this.#plan();
    if (move === null) return;
    const volume = context.store.volume(move.volume)?.value;
    if (volume === undefined) return;
    if (coordinatorOf(volume, context.nodes()) !== context.self.node) return;
    await this.#agent.worker(move.volume).change(move.step.apply);
    context.events.emit('volume.rebalance', `Volume ${volume.name}: ${move.step.text}.`, {
      volume: move.volume,
      values: { from: move.from, to: move.to, bytes: move.bytes },
    });
  }

  #plan(): Move | null {
    const { context } = this.#agent;
    const volumes = context.store.volumes().map((v) => v.value);
    for (const volume of volumes) this.#note(volume);
    const { settleMs } = this.#times;
    const now = context.environment.monotonic();
    const rests = (node: string) => now - (this.#atWork.get(node) ?? -settleMs) < settleMs;
    return nextMove(volumes, { nodes: context.nodes(), threshold: this.#percent / 100, rests });
  }
}

import type { PeerHealth } from '../../src/node/peer-health.ts';
import type { Core } from './core.ts';
import type { NodeRun } from './node-run.ts';

/** How a replica server looks from another machine at this moment. */
export type ReplicaState = 'answers' | 'refuses' | 'silent';

type Watched = {
  failure: string | null;
  lookedAt: number;
  silentSince: number;
  lostSince: number | null;
  stop: () => void;
};

const intervalMs = 250;
const graceMs = 300;
const timeoutMs = 3_000;
const probeTimeoutMs = 1_000;
/** A delay of our own timer that is taken for a blocked daemon. */
const blockedMs = 500;

/** Peers' replica servers as `NbdPeerHealth` and its heartbeats would see them. */
export class SimPeerHealth implements PeerHealth {
  readonly #core: Core;
  readonly #where: string;
  readonly #run: NodeRun;
  readonly #state: (node: string) => ReplicaState;
  readonly #watched = new Map<string, Watched>();
  readonly #listeners = new Set<(node: string) => void>();

  /** @param where the node that looks */
  constructor(core: Core, where: string, run: NodeRun, state: (node: string) => ReplicaState) {
    this.#core = core;
    this.#where = where;
    this.#run = run;
    this.#state = state;
  }

  watch(nodes: ReadonlySet<string>): void {
    for (const [name, watched] of this.#watched) {
      if (nodes.has(name)) continue;
      watched.stop();
      this.#watched.delete(name);
    }
    for (const name of nodes) if (!this.#watched.has(name)) this.#begin(name);
  }

  failure(node: string): string | null {
    return this.#watched.get(node)?.failure ?? null;
  }

  async probe(node: string): Promise<boolean> {
    const { random } = this.#core;
    const state = this.#state(node);
    await this.#run.clock.sleep(state === 'silent' ? probeTimeoutMs : random.int(1, 4));
    return state === 'answers' && this.#state(node) === 'answers';
  }

  onChange(listener: (node: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #begin(name: string): void {
    const now = this.#core.scheduler.now();
    const watched: Watched = {
      failure: null,
      lookedAt: now,
      silentSince: now,
      lostSince: null,
      stop: this.#run.every(intervalMs, () => this.#look(name, watched)),
    };
    this.#watched.set(name, watched);
  }

  #look(name: string, watched: Watched): void {
    const now = this.#core.scheduler.now();
    const blocked = now - watched.lookedAt - intervalMs;
    watched.lookedAt = now;
    if (blocked > blockedMs) {
      // We did not listen in this time, so it does not count against the peer.
      watched.silentSince += blocked;
      if (watched.lostSince !== null) watched.lostSince += blocked;
      return;
    }
    const state = this.#state(name);
    if (state === 'answers') {
      watched.silentSince = now;
      watched.lostSince = null;
      this.#change(name, watched, null);
      return;
    }
    if (state === 'refuses') watched.lostSince ??= now;
    if (watched.lostSince !== null && now - watched.lostSince > graceMs) {
      this.#change(name, watched, 'refused');
    } else if (now - watched.silentSince > timeoutMs) {
      this.#change(name, watched, 'timeout');
      watched.silentSince = now;
    }
  }

  #change(name: string, watched: Watched, failure: string | null): void {
    if (watched.failure === failure || (watched.failure !== null && failure !== null)) return;
    watched.failure = failure;
    this.#core.trace.note(this.#where, `replica server of ${name}: ${failure ?? 'answers'}`);
    for (const listener of this.#listeners) listener(name);
  }
}

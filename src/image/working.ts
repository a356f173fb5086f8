import type { Work } from '../api/service.ts';
import { HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import type { LayerPlace } from './import.ts';

const done = { import: 'imported', restore: 'restored' } as const;

/**
 * Shows work on a layer while it goes on, and ends it when the record is deleted meanwhile.
 * @throws `conflict` then, else what the work throws
 */
export function workingOn(agent: Agent, kind: 'import' | 'restore'): LayerPlace['working'] {
  const { self, environment, store } = agent.context;
  return async ({ volume, layer }, body) => {
    const work: Work = {
      node: self.node,
      volume,
      kind,
      layer,
      from: null,
      doneBytes: 0,
      totalBytes: null,
      startedAt: environment.now(),
    };
    const deleted = new AbortController();
    const off = store.onChange((change) => {
      if (change.kind !== 'volume' || change.id !== volume) return;
      const phase = change.volume?.value.tail.phase ?? 'deleting';
      if (phase === 'deleting') deleted.abort();
    });
    try {
      return await agent.work.during(work, (entry) => body(entry, deleted.signal));
    } catch (error) {
      if (!deleted.signal.aborted) throw error;
      throw new HyperscaleError('conflict', `it was deleted while it was ${done[kind]}`, {
        cause: error,
      });
    } finally {
      off();
    }
  };
}

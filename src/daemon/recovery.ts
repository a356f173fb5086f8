import { connectPeer } from '../api/peer-client.ts';
import { HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import type { Context } from '../node/context.ts';
import { fenceHere } from '../node/fence-here.ts';
import { factsHere } from '../recovery/facts.ts';
import type { KnownNodes } from '../recovery/known-nodes.ts';
import { Recovery } from '../recovery/recovery.ts';
import type { EtcdStore } from '../store/etcd-store.ts';
import type { NodeRecord } from '../volume/types.ts';
import type { StoreSeenKeeper } from './store-seen.ts';

/** A node that does not tell what it holds by then is taken for one that does not answer. */
const factsTimeoutMs = 15_000;

/** The recovery of the records, as this daemon takes part in it or carries it out. */
export function createRecovery(options: {
  agent: Agent;
  endpoints: readonly string[];
  record: NodeRecord;
  secret: string;
  store: EtcdStore;
  seen: StoreSeenKeeper;
  known: { current(): KnownNodes };
}): Recovery {
  const { agent, endpoints, record, secret, store, seen, known } = options;
  const { engine, log, self } = agent.context;
  return new Recovery({
    endpoints,
    log,
    here: {
      facts: () =>
        factsHere(engine, {
          self: record,
          boot: self.boot,
          seen: store.seen(),
          quarantine: store.quarantine(),
          ...known.current(),
        }),
      async fence(volume, epoch) {
        mustStandApart(store, 'fence');
        await fenceHere(agent.worker(volume), epoch);
      },
      async accept(accepted) {
        mustStandApart(store, 'accept other metadata');
        await seen.accept(accepted);
        log.warn({ ...accepted }, 'the recovered records are believed');
      },
    },
    connect: ({ name, address, apiPort }) => {
      const client = connectPeer({ node: name, address, port: apiPort, secret });
      return {
        facts: () => client.recoveryFacts({ timeoutMs: factsTimeoutMs }),
        fence: (volume, epoch) => client.recoveryFence({ volume, epoch }),
        accept: (accepted) => client.acceptStore(accepted),
        close: () => client.close(),
      };
    },
  });
}

/** A recovery that was overtaken must not touch a node that works with the records of a later one. */
function mustStandApart(store: EtcdStore, what: string): void {
  if (store.quarantine() !== null) return;
  throw new HyperscaleError('conflict', `this node believes its records: it does not ${what}`, {
    hint: 'Another recovery was faster. Look with: hscli cluster status',
  });
}

/** Resolves when the records are believed; to false when `stop` fires first. */
export async function believed(store: EtcdStore, stop: AbortSignal): Promise<boolean> {
  try {
    await store.loaded(stop);
    return true;
  } catch (error) {
    if (stop.aborted) return false;
    throw error;
  }
}

/** Says in the log and in events when this node begins and ends to stand apart from the store. */
export function tellOfQuarantine(store: EtcdStore, { log, events }: Context): void {
  const tell = (reason: string | null) => {
    if (reason === null) {
      log.warn({}, 'the metadata in etcd are believed again');
      events.emit('store.believed', 'The metadata in etcd are believed; work goes on.');
    } else {
      log.error({ reason }, 'quarantine: guests run on, nothing else is done');
      events.emit('store.refused', `Quarantine: ${reason}. Guests run on, nothing else is done.`);
    }
  };
  store.onQuarantine(tell);
  if (store.quarantine() !== null) tell(store.quarantine());
}

/**
 * Rebuilds the records in the store from what the pools keep. Any daemon can do it, and do it again
 * when it was interrupted: everything is planned anew from what is there.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { planRecovery } from '../cluster/recover.ts';
import { nextClusterId } from '../cluster/recover-order.ts';
import type { RecoverPlan } from '../cluster/recover-types.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { Log } from '../node/context.ts';
import type { StoreSeen } from '../store/identity.ts';
import {
  openRecoveryStore,
  type RecoveryStore,
  type StoreContent,
} from '../store/recovery-store.ts';
import type { NodeRecord } from '../volume/types.ts';
import { assertAllowed, digestOf, writePlan } from './carry-out.ts';
import { type Gathered, gatherFacts, situationOf } from './gather.ts';
import { type RecoveryPeer, RecoveryPeers } from './peers.ts';

/** How long the daemons may take to notice that the metadata got another identity. */
const standStillMs = 15_000;
const askAgainMs = 200;

export type RecoveryOptions = {
  endpoints: readonly string[];
  log: Log;
  /** This node, asked like the others. */
  here: Omit<RecoveryPeer, 'close'>;
  connect: (node: NodeRecord) => RecoveryPeer;
};

export type RecoverRequest = {
  /** Only say what would be done. */
  dryRun: boolean;
  /** Go on although acknowledged writes may be lost by it. */
  acceptDataLoss: boolean;
  /** Do only what was planned under this digest. */
  digest?: string;
};

export type RecoverResult = {
  plan: RecoverPlan;
  /** Stands for the plan: the same situation gives the same one. */
  digest: string;
  /** Every daemon that answers believes the store: there is nothing to do. */
  needless: boolean;
  done: boolean;
  /** Daemons that believe the store now, and those that could not be told. */
  accepted: string[];
  failed: { node: string; why: string }[];
};

type Look = { gathered: Gathered; plan: RecoverPlan; digest: string };

export class Recovery {
  readonly #options: RecoveryOptions;
  #running = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  get here(): RecoveryOptions['here'] {
    return this.#options.here;
  }

  /**
   * Plans, and unless it is a dry run does what was planned.
   * @throws `not-allowed` for a store of another cluster, `unavailable` when data may be lost by it
   *   and that is not accepted, `conflict` when things are not as planned or another one recovers.
   */
  async run(request: RecoverRequest): Promise<RecoverResult> {
    if (this.#running) {
      throw new HyperscaleError('conflict', 'a recovery is under way on this node', {
        hint: 'Wait for it, then look with: hscli cluster status',
      });
    }
    this.#running = true;
    const peers = new RecoveryPeers(this.#options);
    let store: RecoveryStore | undefined;
    try {
      store = await openRecoveryStore(this.#options.endpoints);
      return await this.#recover(request, store, peers);
    } finally {
      this.#running = false;
      store?.close();
      await peers.close();
    }
  }

  async #recover(
    request: RecoverRequest,
    store: RecoveryStore,
    peers: RecoveryPeers,
  ): Promise<RecoverResult> {
    const before = await store.read();
    const { clusterId } = before;
    const { gathered, plan, digest } = await this.#look(store, peers, before);
    const needless = gathered.facts.every((f) => f.quarantine === null);
    const result = { plan, digest, needless, done: false, accepted: [], failed: [] };
    if (request.dryRun || needless) return result;
    if (request.digest !== undefined && request.digest !== digest) {
      throw new HyperscaleError('conflict', 'things have changed since the plan was made', {
        hint: 'Look at the new plan: run this again.',
      });
    }
    assertAllowed(plan, request);
    const known = gathered.facts.flatMap((f) => f.seen?.clusterId ?? []);
    const claimed = nextClusterId(
      [...known, ...(clusterId === null ? [] : [clusterId])],
      randomBytes(4).toString('hex'),
    );
    await store.claim(clusterId, claimed);
    this.#options.log.warn({ clusterId, claimed }, 'recovering the records');
    await this.#standStill(store, peers);
    // Nobody changes anything any more: now it counts.
    const last = await this.#look(store, peers, before);
    assertAllowed(last.plan, request);
    await this.#fence(last.plan, peers);
    const revision = await writePlan(store, claimed, last.plan);
    const told = await this.#tell(last.gathered, peers, { clusterId: claimed, revision });
    if (told.accepted.length === 0) {
      const why = told.failed.map((f) => `${f.node}: ${f.why}`).join('; ');
      throw new HyperscaleError('conflict', `no node took the recovered records (${why})`, {
        hint: 'Another recovery may have been faster. Look with: hscli cluster status',
        values: { failed: told.failed },
      });
    }
    this.#options.log.warn({ ...told }, 'the records are recovered');
    return { ...result, plan: last.plan, digest: last.digest, done: true, ...told };
  }

  /** @param before the store before its metadata got a new identity. */
  async #look(store: RecoveryStore, peers: RecoveryPeers, before: StoreContent): Promise<Look> {
    const content = await store.read();
    const here = await this.#options.here.facts();
    const gathered = await gatherFacts(here, content.nodes, (node) => peers.ask(node));
    const plan = planRecovery(situationOf(gathered, content, before));
    return { gathered, plan, digest: digestOf(plan) };
  }

  /** Waits until every daemon that answers has seen that the metadata are not the ones it knew. */
  async #standStill(store: RecoveryStore, peers: RecoveryPeers): Promise<void> {
    const until = performance.now() + standStillMs;
    for (;;) {
      const here = await this.#options.here.facts();
      const { nodes } = await store.read();
      const { facts } = await gatherFacts(here, nodes, (node) => peers.ask(node));
      const busy = facts.filter((f) => f.quarantine === null).map((f) => f.self.name);
      if (busy.length === 0) return;
      if (performance.now() > until) {
        throw new HyperscaleError('timeout', `${busy.join(', ')} still uses the old records`, {
          hint: 'Restart hyperscaled there; guests run on. Then run this again.',
        });
      }
      await sleep(askAgainMs);
    }
  }

  async #fence(plan: RecoverPlan, peers: RecoveryPeers): Promise<void> {
    for (const { id, fence } of plan.volumes) {
      for (const node of fence?.nodes ?? []) {
        await peers.named(node).fence(id, fence?.epoch ?? 0);
      }
    }
  }

  /** This node last: as long as it stays apart, everybody sees that it is not over. */
  async #tell(
    { facts }: Gathered,
    peers: RecoveryPeers,
    seen: StoreSeen,
  ): Promise<{ accepted: string[]; failed: { node: string; why: string }[] }> {
    const accepted: string[] = [];
    const failed: { node: string; why: string }[] = [];
    const tell = async (node: string, peer: Pick<RecoveryPeer, 'accept'>) => {
      try {
        await peer.accept(seen);
        accepted.push(node);
      } catch (error) {
        failed.push({ node, why: errorText(error) });
      }
    };
    const [here, ...others] = facts.map((f) => f.self.name);
    await Promise.all(others.map((name) => tell(name, peers.named(name))));
    if (here !== undefined) await tell(here, this.#options.here);
    return { accepted: accepted.sort(), failed };
  }
}

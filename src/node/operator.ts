import type {
  AgreedLoss,
  FsckReport,
  LossReport,
  OperatorService,
  Removal,
  Removed,
} from '../api/operator-service.ts';
import type { DrainReport } from '../cluster/drain.ts';
import { HyperscaleError } from '../errors.ts';
import type { Retirement } from '../store/retirement.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { beginDrain, drainOf, endDrain } from './drain-node.ts';
import { findVolume } from './find-volume.ts';
import { forceVolume, lossOf } from './force.ts';
import { forceDetach } from './force-detach.ts';
import { repairFindings, runFsck } from './fsck-run.ts';
import { removalOf, removeNode } from './retire-node.ts';

/** Checks and decisions of operators, on one node for the whole cluster. */
export class Operator implements OperatorService {
  readonly #agent: Agent;
  readonly #retirement: Retirement;
  /** One check at a time: each asks all nodes for all that they have. */
  #checking = false;

  constructor(agent: Agent, retirement: Retirement) {
    this.#agent = agent;
    this.#retirement = retirement;
  }

  async fsck(
    request: { volume: string | null; repair: boolean },
    signal: AbortSignal,
  ): Promise<FsckReport> {
    if (this.#checking) {
      throw new HyperscaleError('conflict', 'a check is under way on this node', {
        hint: 'Wait for it, or ask another node.',
      });
    }
    this.#checking = true;
    try {
      const volume = request.volume === null ? null : this.#id(request.volume);
      const wanted = { volume, retired: () => this.#retirement.retired() };
      const found = await runFsck(this.#agent, wanted, signal);
      if (!request.repair || found.findings.every((f) => f.fix === null)) {
        return { ...found, repaired: [] };
      }
      const repaired = await repairFindings(this.#agent, found.findings);
      return { ...(await runFsck(this.#agent, wanted, signal)), repaired };
    } finally {
      this.#checking = false;
    }
  }

  async loss(idOrName: string): Promise<LossReport> {
    return lossOf(this.#agent, this.#id(idOrName));
  }

  async force(idOrName: string, agreed: AgreedLoss, by: string): Promise<Volume> {
    return forceVolume(this.#agent, this.#id(idOrName), agreed, by);
  }

  async removal(node: string): Promise<Removal> {
    return removalOf(this.#agent, node, this.#retirement);
  }

  async removeNode(
    node: string,
    decision: { acceptDataLoss: boolean; by: string },
    signal: AbortSignal,
  ): Promise<Removed> {
    return removeNode(this.#agent, node, this.#retirement, decision, signal);
  }

  async drainOf(node: string): Promise<DrainReport> {
    return drainOf(this.#agent, node);
  }

  async drain(node: string, wish: { partial: boolean; by: string }): Promise<DrainReport> {
    return beginDrain(this.#agent, node, wish);
  }

  async undrain(node: string): Promise<DrainReport> {
    return endDrain(this.#agent, node);
  }

  async forceDetach(idOrName: string, host: string, signal: AbortSignal): Promise<void> {
    await forceDetach(this.#agent, this.#id(idOrName), host, signal);
  }

  #id(idOrName: string): string {
    return findVolume(this.#agent.context.store, idOrName).value.id;
  }
}

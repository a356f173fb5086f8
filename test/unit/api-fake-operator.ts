import type {
  FsckReport,
  LossReport,
  OperatorService,
  Removal,
} from '../../src/api/operator-service.ts';
import type { DrainReport } from '../../src/cluster/drain.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Volume } from '../../src/volume/types.ts';

/** Decisions of operators without a cluster: answers what the test says, and notes what is asked. */
export class FakeOperator implements OperatorService {
  report: FsckReport = { nodes: ['n1'], volumes: 1, files: 2, findings: [], repaired: [] };
  /** Null: nothing would be lost. */
  planned: LossReport | null = null;
  removable: Removal = { node: 'n3', pool: 'pool-n3', volumes: ['db1'], losses: [] };
  lost: string[] = [];
  drained: DrainReport = {
    node: 'n3',
    state: 'drained',
    since: '2026-01-01T00:00:00.000Z',
    by: 'root',
    copies: 0,
    bytes: 0,
    writing: 0,
    files: 0,
    attached: [],
    obstacles: [],
  };
  readonly calls: unknown[][];
  readonly #volume: (idOrName: string) => Volume;

  constructor(calls: unknown[][], volume: (idOrName: string) => Volume) {
    this.calls = calls;
    this.#volume = volume;
  }

  async fsck(request: { volume: string | null; repair: boolean }) {
    this.calls.push(['fsck', request]);
    return this.report;
  }

  async loss(idOrName: string) {
    const { name } = this.#volume(idOrName);
    if (this.planned !== null) return this.planned;
    throw new HyperscaleError('not-allowed', `no data of volume ${name} is out of reach`, {
      hint: 'Use it as always.',
    });
  }

  async force(idOrName: string, agreed: unknown, by: string) {
    this.calls.push(['force', idOrName, agreed, by]);
    return this.#volume(idOrName);
  }

  async removal(node: string) {
    this.calls.push(['removal', node]);
    return this.removable;
  }

  async removeNode(node: string, decision: unknown) {
    this.calls.push(['removeNode', node, decision]);
    const { pool, volumes } = this.removable;
    return { node, pool, volumes, lost: this.lost };
  }

  async drainOf(node: string) {
    this.calls.push(['drainOf', node]);
    return { ...this.drained, node };
  }

  async drain(node: string, wish: unknown) {
    this.calls.push(['drain', node, wish]);
    return { ...this.drained, node };
  }

  async undrain(node: string) {
    this.calls.push(['undrain', node]);
    return { ...this.drained, node, state: 'none' as const };
  }

  async forceDetach(idOrName: string, host: string) {
    this.calls.push(['forceDetach', idOrName, host]);
  }
}

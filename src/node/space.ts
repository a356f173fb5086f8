import type { PoolMeasureHere, SpaceService } from '../api/space-service.ts';
import { HyperscaleError } from '../errors.ts';
import { layersBelow } from '../volume/lineage.ts';
import { hasPool } from '../volume/placement.ts';
import { type ClusterSpace, clusterSpace, nodeSpace, volumeSpace } from '../volume/space.ts';
import type { PoolMeasure } from '../volume/space-files.ts';
import type { PoolLimits } from '../volume/space-room.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { compact, endCompacting } from './compact.ts';
import type { Context } from './context.ts';
import { findVolume } from './find-volume.ts';
import { SpaceWatch } from './space-watch.ts';

/** A node looks at every file of its pool in this time, or is counted by what records know. */
const measureTimeoutMs = 5_000;
/** The files of one volume and its ancestors are found in this time. */
const quickTimeoutMs = 2_000;
const defaultLimits: PoolLimits = { warnPercent: 80, criticalPercent: 90 };

/** What takes space, measured by the nodes when it is asked for. */
export class Space implements SpaceService {
  readonly limits: PoolLimits;
  readonly watch: SpaceWatch;
  readonly #agent: Agent;

  constructor(agent: Agent, limits: PoolLimits = defaultLimits) {
    this.#agent = agent;
    this.limits = limits;
    this.watch = new SpaceWatch(agent.context, limits);
  }

  async cluster(): Promise<ClusterSpace> {
    const measures = await this.#measure();
    const pools = this.#agent.context.nodes().filter(hasPool);
    return clusterSpace(this.#volumes(), pools, measures);
  }

  async volumes() {
    const measures = await this.#measure();
    const { lookup } = this;
    return this.#volumes().map((volume) => ({
      volume,
      space: volumeSpace(volume, { measures, lookup }),
    }));
  }

  async volume(idOrName: string) {
    const { lookup } = this;
    const { value: volume } = findVolume(this.#agent.context.store, idOrName);
    const below = layersBelow(volume, lookup) ?? [];
    const wanted = [...new Set([volume.id, ...below.map(({ home }) => home.id)])];
    const measures = await this.#measure(wanted);
    return { volume, space: volumeSpace(volume, { measures, lookup }) };
  }

  async node(name: string) {
    const node = this.#agent.context.nodes().find((n) => n.name === name);
    if (node === undefined) {
      throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(name)}`, {
        hint: 'List them with: hscli node list',
      });
    }
    const measure = node.lease === null || !hasPool(node) ? null : await this.#ask(name);
    return nodeSpace(node, this.#volumes(), measure);
  }

  compact(idOrName: string, signal: AbortSignal): Promise<Volume> {
    return compact(this.#agent, idOrName, signal);
  }

  cancelCompact(idOrName: string): Promise<Volume> {
    return endCompacting(this.#agent, idOrName);
  }

  level(node: string) {
    return this.watch.level(node);
  }

  readonly lookup = (id: string): Volume | undefined => this.#agent.context.store.volume(id)?.value;

  #volumes(): Volume[] {
    return this.#agent.context.store.volumes().map(({ value }) => value);
  }

  /** What the live nodes measure at the same time; without those that do not answer. */
  async #measure(volumes?: string[]): Promise<PoolMeasure[]> {
    const up = this.#agent.context.nodes().filter((n) => n.lease !== null && hasPool(n));
    const measures = await Promise.all(up.map(({ name }) => this.#ask(name, volumes)));
    return measures.filter((measure) => measure !== null);
  }

  async #ask(node: string, volumes?: string[]): Promise<PoolMeasure | null> {
    const { self, peers } = this.#agent.context;
    const request = volumes === undefined ? {} : { volumes };
    const timeoutMs = volumes === undefined ? measureTimeoutMs : quickTimeoutMs;
    try {
      const answer =
        node === self.node
          ? await measureHere(this.#agent.context, request)
          : await peers.of(node, { timeoutMs }).measurePool(request);
      return { node, ...answer };
    } catch {
      // The answer names the nodes that are missing in it.
      return null;
    }
  }
}

/** @throws `unavailable` in a simulation */
export async function measureHere(
  { measurePool }: Context,
  { volumes }: { volumes?: string[] },
): Promise<PoolMeasureHere> {
  if (measurePool !== undefined) return measurePool(volumes);
  throw new HyperscaleError('unavailable', 'this node has no pool that can be measured');
}

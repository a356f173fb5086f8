import type { SpaceService } from '../../src/api/space-service.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { cancelCompact, wishCompact } from '../../src/volume/compact.ts';
import { clusterSpace, nodeSpace, volumeSpace } from '../../src/volume/space.ts';
import type { PoolMeasure } from '../../src/volume/space-files.ts';
import type { PoolLevel } from '../../src/volume/space-room.ts';
import type { NodeView, Volume } from '../../src/volume/types.ts';

type Records = {
  records: Map<string, Volume>;
  nodes(): NodeView[];
  volume(idOrName: string): { value: Volume };
};

/** Space of records in memory; nodes measured nothing unless a test says so. */
export class FakeSpace implements SpaceService {
  readonly limits = { warnPercent: 80, criticalPercent: 90 };
  measures: PoolMeasure[] = [];
  levels = new Map<string, PoolLevel>();
  readonly #of: Records;

  constructor(of: Records) {
    this.#of = of;
  }

  async cluster() {
    return clusterSpace(this.#volumes(), this.#of.nodes(), this.measures);
  }

  async volumes() {
    return this.#volumes().map((volume) => this.#space(volume));
  }

  async volume(idOrName: string) {
    return this.#space(this.#of.volume(idOrName).value);
  }

  async node(name: string) {
    const node = this.#of.nodes().find((n) => n.name === name);
    if (node === undefined) throw new HyperscaleError('not-found', `there is no node ${name}`);
    const measure = this.measures.find((m) => m.node === name) ?? null;
    return nodeSpace(node, this.#volumes(), measure);
  }

  async compact(idOrName: string) {
    return this.#change(wishCompact(this.#of.volume(idOrName).value));
  }

  async cancelCompact(idOrName: string) {
    return this.#change(cancelCompact(this.#of.volume(idOrName).value));
  }

  level(node: string) {
    return this.levels.get(node) ?? 'ok';
  }

  #change(volume: Volume): Volume {
    this.#of.records.set(volume.id, volume);
    return volume;
  }

  #volumes(): Volume[] {
    return [...this.#of.records.values()];
  }

  #space(volume: Volume) {
    const lookup = (id: string) => this.#of.records.get(id);
    return { volume, space: volumeSpace(volume, { measures: this.measures, lookup }) };
  }
}

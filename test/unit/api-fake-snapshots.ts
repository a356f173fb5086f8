import type { CloneSource, SnapshotService } from '../../src/api/snapshot-service.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { addClone, clonePoint, createClone } from '../../src/volume/clone.ts';
import { changedLimits, policyLimits } from '../../src/volume/limits.ts';
import {
  addSnapshot,
  findSnapshot,
  protectSnapshot,
  removeSnapshot,
  revertTo,
} from '../../src/volume/snapshots.ts';
import type { Volume } from '../../src/volume/types.ts';

/** Snapshots and clones on records in memory: the real transitions, with nothing under them. */
export class FakeSnapshots implements SnapshotService {
  readonly #calls: unknown[][];
  readonly #records: Map<string, Volume>;
  #made = 0;

  constructor(calls: unknown[][], records: Map<string, Volume>) {
    this.#calls = calls;
    this.#records = records;
  }

  async create(volume: string, request: { name: string; id?: string }) {
    this.#calls.push(['snapshot', volume, request]);
    this.#made += 1;
    const id = request.id ?? `bbbbbbbb-0000-4000-8000-${String(this.#made).padStart(12, '0')}`;
    const createdAt = '2026-01-02T03:04:05.000Z';
    const kept = this.#change(volume, (v) => addSnapshot(v, { id, name: request.name, createdAt }));
    return { volume: kept, snapshot: findSnapshot(kept, id) };
  }

  async createGroup(volumes: readonly string[], { name }: { name: string }) {
    const made = await Promise.all(volumes.map((volume) => this.create(volume, { name })));
    return {
      group: 'group-1',
      heldMs: 41,
      volumes: made.map((m) => m.volume),
      snapshots: made.map((m) => m.snapshot),
    };
  }

  async remove(volume: string, snapshot: string) {
    this.#calls.push(['remove-snapshot', volume, snapshot]);
    return this.#change(volume, (v) => {
      const found = (v.snapshots ?? []).find((s) => s.name === snapshot || s.id === snapshot);
      return removeSnapshot(v, found?.id ?? snapshot);
    });
  }

  async protect(volume: string, snapshot: string, isProtected: boolean) {
    return this.#change(volume, (v) =>
      protectSnapshot(v, findSnapshot(v, snapshot).id, isProtected),
    );
  }

  async revert(volume: string, snapshot: string) {
    this.#calls.push(['revert', volume, snapshot]);
    return this.#change(volume, (v) => revertTo(v, findSnapshot(v, snapshot).id));
  }

  async clone(source: CloneSource, request: Parameters<SnapshotService['clone']>[1]) {
    this.#calls.push(['clone', source, request]);
    const from = this.#record(source.volume);
    if ([...this.#records.values()].some((v) => v.name === request.name)) {
      throw new HyperscaleError('exists', `a volume named ${request.name} exists`);
    }
    this.#made += 1;
    const point = clonePoint(from, source.snapshot);
    const clone = createClone(point, {
      id: request.id ?? `cccccccc-0000-4000-8000-${String(this.#made).padStart(12, '0')}`,
      name: request.name,
      sizeBytes: request.sizeBytes ?? point.sizeBytes,
      policy: request.policy ?? from.policy,
      limits: changedLimits(policyLimits(request.policy ?? from.policy), request.limits ?? {}),
      createdAt: '2026-01-02T03:04:05.000Z',
    });
    const { parent } = point;
    if (parent !== null) {
      this.#change(parent.volume, (v) => addClone(v, { volume: clone.id, layer: parent.layer }));
    }
    this.#records.set(clone.id, clone);
    return clone;
  }

  #change(idOrName: string, change: (volume: Volume) => Volume): Volume {
    const changed = change(this.#record(idOrName));
    this.#records.set(changed.id, changed);
    return changed;
  }

  #record(idOrName: string): Volume {
    const all = [...this.#records.values()];
    const found = all.find((v) => v.id === idOrName || v.name === idOrName);
    if (found !== undefined) return found;
    throw new HyperscaleError('not-found', `there is no volume ${JSON.stringify(idOrName)}`);
  }
}

import type { PeerService } from '../api/service.ts';
import type { CloneSource, SnapshotService } from '../api/snapshot-service.ts';
import { HyperscaleError } from '../errors.ts';
import type { Versioned } from '../store/store.ts';
import { maxGroup } from '../volume/bounds.ts';
import { addClone, type ClonePoint, clonePoint, createClone } from '../volume/clone.ts';
import { assertRecord, assertStep } from '../volume/invariants.ts';
import { changedLimits, type LimitsChange, policyLimits } from '../volume/limits.ts';
import { snapshotsOf } from '../volume/marks.ts';
import { checkVolumeSize } from '../volume/names.ts';
import { addSnapshot, findSnapshot, protectSnapshot, removeSnapshot } from '../volume/snapshots.ts';
import type { Policy, Snapshot, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { findVolume } from './find-volume.ts';
import { snapshotGroup } from './group-snapshot.ts';
import { revert } from './revert.ts';
import { assertRoomForVolume } from './room-for-volume.ts';
import { atSealedPoint } from './sealed-point.ts';
import { mustNotBeShown } from './views-of.ts';

type CloneRequest = {
  name: string;
  id?: string;
  sizeBytes?: number;
  policy?: Policy;
  limits?: LimitsChange;
};

/** Clones of one record that are made at the same time meet each other in it. */
const cloneRounds = 20;

/** Snapshots and clones, asked for on this node. */
export class Snapshots implements SnapshotService {
  readonly #agent: Agent;
  readonly #here: PeerService;
  readonly #newVolumeId: () => string;

  constructor(agent: Agent, here: PeerService, newVolumeId: () => string) {
    this.#agent = agent;
    this.#here = here;
    this.#newVolumeId = newVolumeId;
  }

  async create(
    idOrName: string,
    { name, id }: { name: string; id?: string },
    signal: AbortSignal,
  ): Promise<{ volume: Volume; snapshot: Snapshot }> {
    const { environment } = this.#agent.context;
    const wanted = {
      id: id ?? environment.randomId(),
      name,
      createdAt: environment.now(),
    };
    const value = await this.#newest(idOrName);
    // What cannot be is told before anything is sealed for it.
    if (value.tail.phase === 'open') addSnapshot(value, wanted);
    const known = snapshotsOf(value).find((s) => s.id === wanted.id && s.name === name);
    if (known !== undefined) return { volume: value, snapshot: known };
    const volume = await atSealedPoint(this.#agent, value.id, signal, (record) =>
      this.#swap(record, addSnapshot(record.value, wanted)),
    );
    this.#tell('snapshot.created', volume, `Snapshot ${name} of ${volume.name} is kept.`);
    return { volume, snapshot: findSnapshot(volume, wanted.id) };
  }

  async createGroup(idsOrNames: readonly string[], { name }: { name: string }) {
    const { store, environment } = this.#agent.context;
    const ids = [...new Set(idsOrNames.map((v) => findVolume(store, v).value.id))];
    if (ids.length === 0 || ids.length > maxGroup) {
      throw new HyperscaleError(
        'bad-input',
        `a group has 1 to ${maxGroup} volumes, not ${ids.length}`,
      );
    }
    const group = environment.randomId();
    return { group, ...(await snapshotGroup(this.#agent, this.#here, ids, { name, group })) };
  }

  async remove(idOrName: string, snapshot: string): Promise<Volume> {
    const value = await this.#newest(idOrName);
    const found = snapshotsOf(value).find((s) => s.name === snapshot || s.id === snapshot);
    if (found !== undefined) await mustNotBeShown(this.#agent.context.store, value, found.id);
    const worker = this.#agent.worker(value.id);
    const volume = await worker.change((v) => removeSnapshot(v, found?.id ?? snapshot));
    if (found !== undefined) {
      this.#tell(
        'snapshot.deleted',
        volume,
        `Snapshot ${found.name} of ${volume.name} is deleted.`,
      );
    }
    return volume;
  }

  async protect(idOrName: string, snapshot: string, isProtected: boolean): Promise<Volume> {
    const value = await this.#newest(idOrName);
    return this.#agent
      .worker(value.id)
      .change((v) => protectSnapshot(v, findSnapshot(v, snapshot).id, isProtected));
  }

  async revert(idOrName: string, snapshot: string, signal: AbortSignal): Promise<Volume> {
    const value = await this.#newest(idOrName);
    const { id } = findSnapshot(value, snapshot);
    const volume = await revert(this.#agent, value, id, signal);
    this.#tell('volume.reverted', volume, `Volume ${volume.name} is what it was at ${snapshot}.`);
    return volume;
  }

  async clone(source: CloneSource, request: CloneRequest, signal: AbortSignal): Promise<Volume> {
    const volume = await this.#clone(source, request, signal);
    const of = source.snapshot === null ? source.volume : `${source.volume}@${source.snapshot}`;
    this.#tell('volume.cloned', volume, `Volume ${volume.name} is a clone of ${of}.`);
    return volume;
  }

  #tell(type: string, volume: Volume, text: string): void {
    this.#agent.context.events.emit(type, text, { volume: volume.id });
  }

  async #clone(source: CloneSource, request: CloneRequest, signal: AbortSignal): Promise<Volume> {
    const value = await this.#newest(source.volume);
    const id = request.id ?? this.#newVolumeId();
    if (request.sizeBytes !== undefined) checkVolumeSize(request.sizeBytes);
    const { store } = this.#agent.context;
    const policy = request.policy ?? value.policy;
    assertRoomForVolume(store.volumes().length, store.nodes(), policy);
    // What cannot be is told before anything is sealed for it.
    if (value.tail.phase === 'open') newClone(value, source.snapshot, { ...request, id }, '');
    if (source.snapshot === null && value.role === undefined) {
      return atSealedPoint(this.#agent, value.id, signal, (record) =>
        this.#cloneOf(record, null, { ...request, id }),
      );
    }
    for (let round = 0; round < cloneRounds; round += 1) {
      signal.throwIfAborted();
      const record = await store.readVolume(value.id);
      if (record === undefined) break;
      const made = await this.#cloneOf(record, source.snapshot, { ...request, id });
      if (made !== undefined) return made;
    }
    throw new HyperscaleError('conflict', `volume ${value.name} is being changed by others`, {
      hint: 'Try again.',
    });
  }

  /** As the store has it: nothing is said to be done, or refused, of what the cache has. */
  async #newest(idOrName: string): Promise<Volume> {
    const { store } = this.#agent.context;
    const { value } = findVolume(store, idOrName);
    return (await store.readVolume(value.id))?.value ?? value;
  }

  /** Undefined: what it goes on from has changed meanwhile, and nothing was done. */
  async #cloneOf(
    record: Versioned<Volume>,
    snapshot: string | null,
    request: CloneRequest & { id: string },
  ): Promise<Volume | undefined> {
    const { store, environment } = this.#agent.context;
    const { point, clone } = newClone(record.value, snapshot, request, environment.now());
    assertRecord(clone);
    const volume = { ...clone, operation: environment.randomId() };
    const { parent } = point;
    if (parent === null) return (await store.create(volume)).value;
    const previous =
      parent.volume === record.value.id ? record : await store.readVolume(parent.volume);
    if (previous === undefined) return undefined;
    const noted = addClone(previous.value, { volume: volume.id, layer: parent.layer });
    assertStep(previous.value, noted);
    const used = noted.role === 'image' ? { usedAt: volume.createdAt } : {};
    const next = { ...noted, ...used, operation: environment.randomId() };
    return (await store.createWith(volume, { previous, next }))?.value;
  }

  /** Undefined when the record is another one by now. */
  async #swap(record: Versioned<Volume>, next: Volume): Promise<Volume | undefined> {
    const { store, environment } = this.#agent.context;
    if (next === record.value) return next;
    assertStep(record.value, next);
    return (await store.swap(record, { ...next, operation: environment.randomId() }))?.value;
  }
}

function newClone(
  source: Volume,
  snapshot: string | null,
  request: CloneRequest & { id: string },
  createdAt: string,
): { point: ClonePoint; clone: Volume } {
  const point = clonePoint(source, snapshot);
  const policy = request.policy ?? source.policy;
  const clone = createClone(point, {
    id: request.id,
    name: request.name,
    sizeBytes: request.sizeBytes ?? point.sizeBytes,
    policy,
    limits: changedLimits(policyLimits(policy), request.limits ?? {}),
    createdAt,
  });
  return { point, clone };
}

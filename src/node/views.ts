import { createHash } from 'node:crypto';
import type { Endpoint } from '../api/service.ts';
import type { OpenView, ViewService } from '../api/view-service.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Versioned } from '../store/store.ts';
import { maxSealedLayers } from '../volume/bounds.ts';
import { addClone, clonePoint } from '../volume/clone.ts';
import { assertRecord, assertStep } from '../volume/invariants.ts';
import { attachmentOn } from '../volume/queries.ts';
import { findSnapshot } from '../volume/snapshots.ts';
import type { NodeName, NodeView, View, Volume, VolumeId } from '../volume/types.ts';
import { createView, endView, isViewOf, viewHost } from '../volume/view.ts';
import type { Agent } from './agent.ts';
import { mayBeAttachedTo } from './drain-node.ts';
import { findVolume } from './find-volume.ts';
import { assertRoomForVolume } from './room-for-volume.ts';
import { atSealedPoint } from './sealed-point.ts';
import { viewsOf } from './views-of.ts';

type SnapshotRef = { volume: string; snapshot: string };
type Wanted = { view: View; name: string; host: NodeView; session: string };

/** Others may change what is shown meanwhile. */
const rounds = 20;
/** A record that was made here is known on another node a little later. */
const newsAfterMs = 5_000;
const lookAgainMs = 50;

/** Views of volumes, asked for on this node. */
export class Views implements ViewService {
  readonly #agent: Agent;
  readonly #newVolumeId: () => string;

  constructor(agent: Agent, newVolumeId: () => string) {
    this.#agent = agent;
    this.#newVolumeId = newVolumeId;
  }

  async attach(of: SnapshotRef, host: NodeName, signal: AbortSignal): Promise<Endpoint> {
    const { store, environment, events } = this.#agent.context;
    const { value } = findVolume(store, of.volume);
    const node = this.#live(host);
    for (let round = 0; round < rounds; round += 1) {
      signal.throwIfAborted();
      const record = await store.readVolume(value.id);
      if (record === undefined) break;
      const snapshot = findSnapshot(record.value, of.snapshot);
      const known = this.#all().find((v) =>
        isViewOf(v, { volume: value.id, snapshot: snapshot.id, host }),
      );
      if (known !== undefined && attachmentOn(known, host)?.boot === node.lease?.boot) {
        return this.#endpoint(known, host, signal);
      }
      // Its reader lived in an earlier boot of the host.
      if (known !== undefined) await this.#remove(known);
      const { id, name } = snapshot;
      const made = await this.#make(record, {
        view: { of: value.id, snapshot: { id, name } },
        name: nameOf(record.value, snapshot, host),
        host: node,
        session: environment.randomId(),
      });
      if (made === undefined) continue;
      const text = `Snapshot ${name} of ${value.name} is attached on ${host}.`;
      events.emit('snapshot.attached', text, { volume: value.id, values: { host } });
      return this.#endpoint(made, host, signal);
    }
    throw new HyperscaleError('conflict', `volume ${value.name} is being changed by others`, {
      hint: 'Try again.',
    });
  }

  async detach(of: SnapshotRef, host: NodeName, signal: AbortSignal): Promise<void> {
    const { events, store } = this.#agent.context;
    this.#known(host);
    // The snapshot may have been deleted meanwhile, and the volume too: then its id finds them.
    const id = store.volumeNamed(of.volume)?.value.id ?? of.volume;
    const shown = (await store.readVolume(id))?.value;
    const views = shown === undefined ? this.#all() : await viewsOf(store, shown);
    const found = views.filter(
      ({ view }) =>
        view?.of === id &&
        (view.snapshot?.id === of.snapshot || view.snapshot?.name === of.snapshot),
    );
    if (found.length === 0) findSnapshot(shown ?? findVolume(store, of.volume).value, of.snapshot);
    for (const view of found) {
      if (attachmentOn(view, host) === undefined) continue;
      await this.#end(view, signal);
      const name = view.view?.snapshot?.name ?? of.snapshot;
      const volume = store.volume(id)?.value.name ?? id;
      const text = `Snapshot ${name} of ${volume} is attached on ${host} no more.`;
      events.emit('snapshot.detached', text, { volume: id, values: { host } });
    }
  }

  async open(
    source: { volume: string; snapshot: string | null },
    signal: AbortSignal,
  ): Promise<OpenView> {
    const { store, environment, self } = this.#agent.context;
    const { value } = findVolume(store, source.volume);
    const host = this.#live(self.node);
    const session = environment.randomId();
    const wanted = (record: Versioned<Volume>): Wanted => {
      const kept = source.snapshot === null ? null : findSnapshot(record.value, source.snapshot);
      const snapshot = kept === null ? null : { id: kept.id, name: kept.name };
      const view: View = { of: value.id, snapshot, untilUnused: true };
      return { view, name: `${record.value.name}@${session}`, host, session };
    };
    const made =
      source.snapshot === null && value.role === undefined
        ? await atSealedPoint(this.#agent, value.id, signal, (record) =>
            this.#make(record, wanted(record)),
          )
        : await this.#ofSettled(value, wanted);
    try {
      const endpoint = await this.#endpoint(made, host.name, signal);
      return { id: made.id, sizeBytes: made.sizeBytes, endpoint };
    } catch (error) {
      await this.#giveUp(made);
      throw error;
    }
  }

  async close(id: VolumeId, signal: AbortSignal): Promise<void> {
    const found = this.#all().find((v) => v.id === id);
    if (found !== undefined) await this.#end(found, signal);
  }

  /** Of what does not change: there is nothing to be sealed for it. */
  async #ofSettled(
    { id, name }: Volume,
    wanted: (record: Versioned<Volume>) => Wanted,
  ): Promise<Volume> {
    for (let round = 0; round < rounds; round += 1) {
      const record = await this.#agent.context.store.readVolume(id);
      if (record === undefined) break;
      const made = await this.#make(record, wanted(record));
      if (made !== undefined) return made;
    }
    throw new HyperscaleError('conflict', `${name} is being changed by others`, {
      hint: 'Try again.',
    });
  }

  /**
   * Makes the record, with its note in what it goes on from.
   * @returns undefined when that has changed meanwhile, or somebody has made it: nothing was done.
   */
  async #make(
    record: Versioned<Volume>,
    { view, name, host, session }: Wanted,
  ): Promise<Volume | undefined> {
    const { store, environment } = this.#agent.context;
    mayBeAttachedTo(this.#agent.context.nodes(), host.name, undefined);
    assertRoomForVolume(store.volumes().length, store.nodes(), {
      ...record.value.policy,
      reflections: 0,
    });
    const point = clonePoint(record.value, view.snapshot?.id ?? null, maxSealedLayers);
    const now = environment.now();
    const attachment = { host: host.name, session, boot: host.lease?.boot ?? '', since: now };
    const id = this.#newVolumeId();
    const volume = createView(point, { id, name, view, attachment, createdAt: now });
    assertRecord(volume);
    const stamped = { ...volume, operation: environment.randomId() };
    const { parent } = point;
    try {
      if (parent === null) return (await store.create(stamped)).value;
      const previous =
        parent.volume === record.value.id ? record : await store.readVolume(parent.volume);
      if (previous === undefined) return undefined;
      const noted = addClone(previous.value, { volume: id, layer: parent.layer });
      assertStep(previous.value, noted);
      const next = { ...noted, operation: environment.randomId() };
      return (await store.createWith(stamped, { previous, next }))?.value;
    } catch (error) {
      // Somebody has just attached the same snapshot on the same host.
      if (isHyperscaleError(error, 'exists')) return undefined;
      throw error;
    }
  }

  async #endpoint(volume: Volume, host: NodeName, signal: AbortSignal): Promise<Endpoint> {
    const { self, peers, environment } = this.#agent.context;
    if (host === self.node) return this.#agent.attach(volume.id, signal);
    const deadline = environment.monotonic() + newsAfterMs;
    for (;;) {
      try {
        return await peers.of(host, { signal }).attach(volume.id);
      } catch (error) {
        if (!isHyperscaleError(error, 'not-found') || environment.monotonic() > deadline)
          throw error;
      }
      await new Promise<void>((resolve) => environment.after(lookAgainMs, resolve));
    }
  }

  /** In good order where its host is up; the record alone decides that it is over. */
  async #end(view: Volume, signal: AbortSignal): Promise<void> {
    const { self, peers, nodes } = this.#agent.context;
    const host = viewHost(view);
    if (host === self.node) await this.#agent.detach(view.id, signal);
    else if (nodes().some((n) => n.name === host && n.lease !== null)) {
      await peers.of(host ?? '', { signal }).detach(view.id);
    }
    await this.#remove(view);
  }

  async #remove(view: Volume): Promise<void> {
    try {
      await this.#agent.worker(view.id).change(endView);
    } catch (error) {
      if (!isHyperscaleError(error, 'not-found')) throw error;
    }
  }

  /** What cannot be cleared away now goes by itself later. */
  async #giveUp(view: Volume): Promise<void> {
    await this.#remove(view).catch((error: unknown) => {
      const { log } = this.#agent.context;
      log.warn({ volume: view.id, error: errorText(error) }, 'a view cannot be ended yet');
    });
  }

  #all(): Volume[] {
    const { store } = this.#agent.context;
    return store
      .volumes()
      .map(({ value }) => value)
      .filter((v) => v.view !== undefined && v.tail.phase !== 'deleting');
  }

  #live(host: NodeName): NodeView {
    const node = this.#known(host);
    if (node.lease !== null) return node;
    throw new HyperscaleError('node-down', `node ${host} is down`, {
      hint: 'Start hyperscaled on it, or attach on another node.',
    });
  }

  #known(host: NodeName): NodeView {
    const node = this.#agent.context.nodes().find((n) => n.name === host);
    if (node !== undefined) return node;
    throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(host)}`, {
      hint: 'List them with: hscli node list',
    });
  }
}

/** One a snapshot and host, so that of two callers one makes it and the other finds it. */
function nameOf(volume: Volume, snapshot: { id: string; name: string }, host: NodeName): string {
  const key = createHash('sha256').update(`${volume.id} ${snapshot.id} ${host}`).digest('hex');
  return `${volume.name}@${snapshot.name}:${host}:${key.slice(0, 16)}`;
}

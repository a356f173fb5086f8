import type { Readable } from 'node:stream';
import type { ImageService, Imported, ImportRequest } from '../api/image-service.ts';
import type { Work } from '../api/service.ts';
import type { LayerKey } from '../engine/engine.ts';
import { HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import { assertRoomForVolume } from '../node/room-for-volume.ts';
import type { Volume } from '../volume/types.ts';
import { importFile } from './import.ts';
import type { ImportRecords } from './records.ts';
import { ImportSlots } from './slots.ts';
import type { Uploads } from './upload.ts';

/** Images of the cluster, as one node's daemon serves them. */
export class Images implements ImageService {
  readonly #agent: Agent;
  readonly #uploads: Uploads;
  readonly #records: ImportRecords;
  readonly #slots = new ImportSlots();
  readonly #deleteVolume: (id: string) => Promise<void>;

  constructor(parts: {
    agent: Agent;
    uploads: Uploads;
    records: ImportRecords;
    deleteVolume: (id: string) => Promise<void>;
  }) {
    this.#agent = parts.agent;
    this.#uploads = parts.uploads;
    this.#records = parts.records;
    this.#deleteVolume = parts.deleteVolume;
  }

  list(): Volume[] {
    const { store } = this.#agent.context;
    return store
      .volumes()
      .map(({ value }) => value)
      .filter((v) => v.role === 'image' && v.tail.phase !== 'deleting');
  }

  image(idOrName: string): Volume {
    const found = this.list().find((v) => v.name === idOrName || v.id === idOrName);
    if (found !== undefined) return found;
    throw new HyperscaleError('not-found', `there is no image ${JSON.stringify(idOrName)}`, {
      hint: 'List them with: hscli image list',
    });
  }

  async import(request: ImportRequest, body: Readable, signal: AbortSignal): Promise<Imported> {
    const { name } = request;
    return this.#slots.during(name, async () => {
      this.#mustBePossible(request);
      const { events, engine, content } = this.#agent.context;
      const place = {
        layers: engine.layers,
        content,
        uploads: this.#uploads,
        records: this.#records,
        working: <T>(layer: LayerKey, body: (work: Work, deleted: AbortSignal) => Promise<T>) =>
          this.#working(layer, body),
      };
      const imported = await importFile(place, request, body, signal);
      const { volume } = imported;
      const what = request.as === 'image' ? 'Image' : 'Volume';
      events.emit('image.imported', `${what} ${name} was made of a file.`, {
        volume: volume.id,
        values: { as: request.as, sizeBytes: volume.sizeBytes },
      });
      return imported;
    });
  }

  async delete(idOrName: string): Promise<void> {
    await this.#deleteVolume(this.image(idOrName).id);
  }

  /** Before a large file is received for nothing. @throws `exists`, `no-space`, `not-enough-nodes` */
  #mustBePossible({ name, policy }: ImportRequest): void {
    const { store } = this.#agent.context;
    assertRoomForVolume(store.volumes().length, store.nodes(), policy);
    const found = store.volumeNamed(name);
    if (found === undefined) return;
    const what = found.value.role === 'image' ? 'an image' : 'a volume';
    throw new HyperscaleError('exists', `there is ${what} ${name} already`, {
      hint: 'Choose another name, or delete the other one first.',
      values: { name },
    });
  }

  async #working<T>(
    { volume, layer }: LayerKey,
    body: (work: Work, deleted: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { self, environment, store } = this.#agent.context;
    const work: Work = {
      node: self.node,
      volume,
      kind: 'import',
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
      return await this.#agent.work.during(work, (entry) => body(entry, deleted.signal));
    } catch (error) {
      if (!deleted.signal.aborted) throw error;
      throw new HyperscaleError('conflict', 'it was deleted while it was imported', {
        cause: error,
      });
    } finally {
      off();
    }
  }
}

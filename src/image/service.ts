import type { Readable } from 'node:stream';
import type { ImageService, Imported, ImportRequest } from '../api/image-service.ts';
import { HyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import type { Volume } from '../volume/types.ts';
import { type ImportPlace, importFile } from './import.ts';
import { assertPossible } from './possible.ts';
import { probeImage } from './probe.ts';
import type { ImportRecords } from './records.ts';
import { ImportSlots } from './slots.ts';
import { workingOn } from './working.ts';

/** Images of the cluster, as one node's daemon serves them. */
export class Images implements ImageService {
  readonly #agent: Agent;
  readonly #uploads: ImportPlace['uploads'];
  readonly #probe: ImportPlace['probe'];
  readonly #records: ImportRecords;
  readonly #slots = new ImportSlots();
  readonly #deleteVolume: (id: string) => Promise<void>;

  constructor(parts: {
    agent: Agent;
    uploads: ImportPlace['uploads'];
    probe?: ImportPlace['probe'];
    records: ImportRecords;
    deleteVolume: (id: string) => Promise<void>;
  }) {
    this.#agent = parts.agent;
    this.#uploads = parts.uploads;
    this.#probe = parts.probe ?? probeImage;
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
      assertPossible(this.#agent.context, request);
      const { events, engine, content, environment } = this.#agent.context;
      const place = {
        layers: engine.layers,
        content,
        uploads: this.#uploads,
        probe: this.#probe,
        environment,
        records: this.#records,
        working: workingOn(this.#agent, 'import'),
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
}

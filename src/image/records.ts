import { randomUUID } from 'node:crypto';
import type { LayerKey } from '../engine/engine.ts';
import { errorText, isHyperscaleError } from '../errors.ts';
import type { Agent } from '../node/agent.ts';
import { markDeleted } from '../volume/delete.ts';
import { beginImport, completeImport, type ImportOrigin, importedEpoch } from '../volume/import.ts';
import { assertRecord } from '../volume/invariants.ts';
import type { LayerId, Policy, Volume } from '../volume/types.ts';

/** How often it is looked for what nobody is making. */
const lookMs = 10_000;

export type BeginRequest = {
  name: string;
  sizeBytes: number;
  policy: Policy;
  as: 'image' | 'volume';
} & ImportOrigin;

/** The record of what is being imported on this node, before and after its layer is there. */
export class ImportRecords {
  readonly #agent: Agent;
  readonly #newVolumeId: () => string;
  /** Layers that are being made here now. */
  readonly #active = new Set<LayerId>();

  constructor(agent: Agent, newVolumeId: () => string = randomUUID) {
    this.#agent = agent;
    this.#newVolumeId = newVolumeId;
  }

  /**
   * Takes the name; nobody can use what has it yet. The record says which layer file will be here, so
   * that a deletion takes that away too. When it fails, nothing is left.
   * @throws `exists`
   */
  async begin(request: BeginRequest): Promise<{ volume: Volume; layer: LayerKey }> {
    const { store, environment, self } = this.#agent.context;
    const id = this.#newVolumeId();
    const { node, pool } = self;
    const importing = { node, pool, layer: environment.randomId() };
    const wanted = { ...request, id, createdAt: environment.now() };
    const record = beginImport(wanted, importing);
    assertRecord(record);
    const operation = environment.randomId();
    const layer = { volume: id, layer: importing.layer, epoch: importedEpoch };
    this.#active.add(layer.layer);
    try {
      const { value } = await store.create({ ...record, operation });
      // Before a file is made for a record, that is kept here.
      await this.#agent.worker(id).sidecar.keep();
      return { volume: value, layer };
    } catch (error) {
      // Also one that was made although the store did not answer.
      if (!isHyperscaleError(error, 'exists')) await this.abandon(layer);
      throw error;
    }
  }

  /**
   * The layer is there, on stable storage, and proven.
   * @throws `conflict` or `not-found` when the record was deleted meanwhile
   */
  async complete(layer: LayerKey, proof: { root: string; bytes: number }): Promise<Volume> {
    const worker = this.#agent.worker(layer.volume);
    const done = await worker.change((v) => completeImport(v, layer.layer, proof));
    this.#active.delete(layer.layer);
    await worker.sidecar.keep();
    return done;
  }

  /**
   * Takes away what will not be completed. Never throws: what cannot be taken away now, because the
   * store does not answer, the next start of the daemon takes away.
   */
  async abandon(layer: LayerKey): Promise<void> {
    const { engine, content, log } = this.#agent.context;
    const { volume } = layer;
    this.#active.delete(layer.layer);
    try {
      // A completion whose answer was lost counts: then it is an image, and its file stays.
      if (await this.#isCompleted(layer)) return;
      await content.forget(layer);
      await engine.layers.remove(layer);
    } catch (error) {
      log.warn({ volume, error: errorText(error) }, 'an import cannot be taken away now');
    }
  }

  /** Deletes the record, unless the layer is part of it. */
  async #isCompleted({ volume, layer }: LayerKey): Promise<boolean> {
    try {
      const now = await this.#agent
        .worker(volume)
        .change((v) => (v.importing?.layer === layer ? markDeleted(v) : v));
      return now.chain.some((l) => l.id === layer);
    } catch (error) {
      if (isHyperscaleError(error, 'not-found')) return false;
      throw error;
    }
  }

  /**
   * Takes away what an earlier run of this node's daemon did not complete, and from now on whatever
   * nobody here is making: a store that did not answer may still have made a record, long after it was
   * given up.
   */
  async abandonLeftovers(): Promise<void> {
    const { store, environment, log } = this.#agent.context;
    for (const { value } of store.volumes()) await this.#abandonUnless(value);
    const look = () => {
      const leftovers = store.volumes().map(({ value }) => this.#abandonUnless(value));
      Promise.all(leftovers)
        .catch((error: unknown) => log.warn({ error: errorText(error) }, 'leftovers of imports'))
        .finally(() => environment.after(lookMs, look));
    };
    environment.after(lookMs, look);
  }

  async #abandonUnless({ importing, id: volume, name }: Volume): Promise<void> {
    const { self, log } = this.#agent.context;
    if (importing?.node !== self.node || importing.pool !== self.pool) return;
    if (this.#active.has(importing.layer)) return;
    log.info({ volume, name }, 'an import that was not completed is taken away');
    await this.abandon({ volume, layer: importing.layer, epoch: importedEpoch });
  }
}

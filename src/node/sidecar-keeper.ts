import { Serial } from '../engine/serial.ts';
import { errorText } from '../errors.ts';
import { laterRevision } from '../store/record-cache.ts';
import type { Context } from './context.ts';
import { keepsRecord, parseSidecar, sidecarText } from './sidecar.ts';

/** Keeps one volume's record in this node's pool, as new as it is known here. */
export class SidecarKeeper {
  readonly #context: Context;
  readonly #volume: string;
  readonly #serial = new Serial();
  /** What lies in the pool: undefined until it was looked at. */
  #kept: { clusterId: string; revision: string } | null | undefined;
  #following = false;

  constructor(context: Context, volume: string) {
    this.#context = context;
    this.#volume = volume;
  }

  /** Keeps what the store's cache has, soon; many changes at once are kept once. */
  follow(): void {
    if (this.#following) return;
    this.#following = true;
    this.#serial
      .run(async () => {
        this.#following = false;
        await this.#keepNewest();
      })
      .catch((error: unknown) => {
        const { log } = this.#context;
        log.warn({ volume: this.#volume, error: errorText(error) }, 'a record cannot be kept');
      });
  }

  /**
   * Resolves when the record that the store's cache has now, or a newer one, is durably kept here.
   * Whoever acts on a record that was just read or swapped finds it in the cache.
   */
  async keep(): Promise<void> {
    await this.#serial.run(() => this.#keepNewest());
  }

  async #keepNewest(): Promise<void> {
    const { engine, store, self } = this.#context;
    const kept = await this.#look();
    // Read in one moment, so that they belong together.
    const [clusterId, record] = [store.clusterId(), store.volume(this.#volume)];
    // Nothing is learnt from metadata that are not believed.
    if (store.quarantine() !== null) return;
    if (record === undefined) return this.#forgetDeleted();
    const known = kept?.clusterId === clusterId && !laterRevision(record.revision, kept.revision);
    if (known) return;
    if (keepsRecord(record.value, self.node)) {
      await engine.layers.keepRecord(this.#volume, sidecarText(clusterId, record));
      this.#kept = { clusterId, revision: record.revision };
    } else if (kept !== null) {
      await engine.layers.removeRecord(this.#volume);
      this.#kept = null;
    }
  }

  /** A record of these very metadata that they do not have any more was deleted. */
  async #forgetDeleted(): Promise<void> {
    const { engine, store } = this.#context;
    const believed = store.connected() && store.quarantine() === null;
    const kept = await this.#look();
    if (!believed || kept === null || kept.clusterId !== store.clusterId()) return;
    if ((await engine.layers.list(this.#volume)).length > 0) return;
    if (store.volume(this.#volume) !== undefined) return;
    await engine.layers.removeRecord(this.#volume);
    this.#kept = null;
  }

  async #look(): Promise<{ clusterId: string; revision: string } | null> {
    if (this.#kept !== undefined) return this.#kept;
    const text = await this.#context.engine.layers.record(this.#volume);
    try {
      const { clusterId, revision } = parseSidecar(this.#volume, text);
      this.#kept = { clusterId, revision };
    } catch {
      // None, or one that is of no use: it is replaced.
      this.#kept = null;
    }
    return this.#kept;
  }
}

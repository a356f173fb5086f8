/** Stored objects of a repository as what they hold: boxes are made, opened and checked here. */
import { HyperscaleError } from '../errors.ts';
import { boxOverheadBytes, digestOf, type Kind, openBox, sealBox } from './box.ts';
import { type BackupEntry, manifestName, parseManifestName } from './entry.ts';
import type { Keys } from './keys.ts';
import { backupsFolder, dataName, folders } from './layout.ts';
import {
  decodeManifest,
  decodePin,
  encodeRecord,
  type Manifest,
  maxManifestBytes,
  maxPinBytes,
  type Pin,
} from './records.ts';
import { type Ref, RefList } from './refs.ts';
import { pageLength, type Shape } from './shape.ts';
import type { Target } from './target.ts';

/** Kinds that are named after what they hold. */
export type DataKind = Extract<Kind, 'chunk' | 'page' | 'root'>;

export class Objects {
  readonly target: Target;
  readonly #keys: Keys | null;

  constructor(target: Target, keys: Keys | null) {
    this.target = target;
    this.#keys = keys;
  }

  /** What content of a volume is called. */
  async digest(volume: string, kind: DataKind, content: Buffer): Promise<string> {
    return await digestOf(kind, content, (await this.#keys?.naming(volume)) ?? null);
  }

  /** The stored form of content, for one session. */
  async seal(volume: string, session: string, kind: DataKind, digest: string, content: Buffer) {
    const name = dataName(volume, { session, digest, bytes: 0 });
    const key = (await this.#keys?.sealing(folders.session(volume, session))) ?? null;
    const box = await sealBox({ kind, content, digest, name, key, compress: true });
    return { name, box };
  }

  /**
   * What a reference stands for.
   * @throws `damaged` when it is missing or not exactly what was stored.
   */
  async read(
    volume: string,
    kind: DataKind,
    ref: Ref,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    const name = dataName(volume, ref);
    const box = await this.target.get(name, bytes + boxOverheadBytes, signal);
    if (box === null) {
      throw new HyperscaleError('damaged', `${name} is missing`, { values: { name } });
    }
    const content = await openBox({
      ...{ kind, box, name, digest: ref.digest, maxBytes: bytes },
      key: (await this.#keys?.sealing(folders.session(volume, ref.session))) ?? null,
      namingKey: (await this.#keys?.naming(volume)) ?? null,
    });
    if (content.length === bytes) return content;
    const text = `${name} holds ${content.length} bytes instead of ${bytes}`;
    throw new HyperscaleError('damaged', text, { values: { name } });
  }

  /** The references to a backup's pages. */
  async root(volume: string, shape: Shape, ref: Ref | null, signal?: AbortSignal) {
    return await this.#list(volume, 'root', ref, shape.pages, signal);
  }

  /** The references to the chunks of one page. */
  async page(volume: string, shape: Shape, page: number, ref: Ref | null, signal?: AbortSignal) {
    return await this.#list(volume, 'page', ref, pageLength(shape, page), signal);
  }

  /**
   * All backups of a volume, or of all; what a list needs is in the names. Other names are left out.
   */
  async *entries(volume: string | undefined, signal?: AbortSignal): AsyncIterable<BackupEntry> {
    const folder = volume === undefined ? backupsFolder : folders.backups(volume);
    for await (const name of this.target.names(folder, signal)) {
      const entry = parseManifestName(name);
      if (entry !== undefined) yield entry;
    }
  }

  /**
   * All backups of a volume, when it matters that none is overlooked.
   * @throws `old-software` when there is a name that this software does not know.
   */
  async allEntries(volume: string, signal?: AbortSignal): Promise<BackupEntry[]> {
    const entries: BackupEntry[] = [];
    for await (const name of this.target.names(folders.backups(volume), signal)) {
      const entry = parseManifestName(name);
      if (entry === undefined) {
        throw new HyperscaleError('old-software', `${name} is no backup that this software knows`, {
          hint: 'Use the newest software; or remove the file if it does not belong there.',
        });
      }
      entries.push(entry);
    }
    return entries;
  }

  /** @throws `not-found` when the backup is gone, `damaged`. */
  async manifest(entry: BackupEntry, signal?: AbortSignal): Promise<Manifest> {
    const name = manifestName(entry);
    const content = await this.#record('manifest', name, maxManifestBytes, signal);
    if (content !== null) return decodeManifest(content, entry);
    throw new HyperscaleError('not-found', `backup ${entry.id} of ${entry.volume} is gone`);
  }

  /** True when it was put, false when there is one of that name. */
  async publish(manifest: Manifest, signal?: AbortSignal): Promise<boolean> {
    const name = manifestName(manifest.entry);
    const box = await this.#sealRecord('manifest', name, encodeRecord(manifest));
    return await this.target.putIfAbsent(name, box, signal);
  }

  /** Null when it is gone. @throws `damaged`. */
  async pin(name: string, signal?: AbortSignal): Promise<Pin | null> {
    const content = await this.#record('pin', name, maxPinBytes, signal);
    return content === null ? null : decodePin(content, name);
  }

  async putPin(name: string, pin: Pin, signal?: AbortSignal): Promise<void> {
    await this.target.put(name, await this.#sealRecord('pin', name, encodeRecord(pin)), signal);
  }

  async #list(
    volume: string,
    kind: DataKind,
    ref: Ref | null,
    length: number,
    signal?: AbortSignal,
  ) {
    if (ref === null) return RefList.zeros(length);
    const bytes = RefList.encodedBytes(length);
    return RefList.decode(await this.read(volume, kind, ref, bytes, signal), length);
  }

  async #record(kind: Kind, name: string, maxBytes: number, signal?: AbortSignal) {
    const box = await this.target.get(name, maxBytes + boxOverheadBytes, signal);
    if (box === null) return null;
    return await openBox({ kind, box, name, maxBytes, ...(await this.#recordKeys(name)) });
  }

  async #sealRecord(kind: Kind, name: string, content: Buffer): Promise<Buffer> {
    const { key, namingKey } = await this.#recordKeys(name);
    const digest = await digestOf(kind, content, namingKey);
    return await sealBox({ kind, content, digest, name, key, compress: false });
  }

  async #recordKeys(name: string) {
    if (this.#keys === null) return { key: null, namingKey: null };
    const folder = name.slice(0, name.lastIndexOf('/') + 1);
    const volume = name.split('/')[1] ?? '';
    return { key: await this.#keys.sealing(folder), namingKey: await this.#keys.naming(volume) };
  }
}

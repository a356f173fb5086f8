/** What manifests and pins say: JSON in a box. Both are checked as if an enemy had written them. */
import { HyperscaleError } from '../errors.ts';
import type { BackupEntry } from './entry.ts';
import { manifestName } from './entry.ts';
import { isId } from './layout.ts';
import type { Ref } from './refs.ts';

/** Free words of whoever makes a backup, such as the layer that it ends with. */
export type Labels = Readonly<Record<string, string>>;

/** All that is known of a backup. */
export type Manifest = {
  entry: BackupEntry;
  /** The backup that it builds on; that one need not exist any more. */
  parent: string | null;
  labels: Labels;
  /** Its index; null when the volume is all zeros. */
  root: Ref | null;
};

/** Kept while a backup is written (or read), and where an interrupted write goes on. */
export type Pin = {
  use: 'write' | 'read';
  /** What is written, or what is read. */
  name: string;
  at: number;
  sizeBytes: number;
  /** When it was put, ms since 1970, by the clock of whoever put it. */
  since: number;
  parent: string | null;
  /** An index that must stay whole: the parent's, or that which is read. */
  root: Ref | null;
  /** Of the volume that this index describes. */
  rootSizeBytes: number;
};

export const maxManifestBytes = 64 * 1024;
export const maxPinBytes = 4096;
const maxLabels = 64;
const maxLabelBytes = 4096;

/** @throws `bad-input` when there are too many labels, or they are too long. */
export function checkLabels(labels: Labels): void {
  const entries = Object.entries(labels);
  const bytes = entries.reduce((sum, [key, text]) => sum + key.length + text.length, 0);
  if (entries.length <= maxLabels && bytes <= maxLabelBytes) return;
  throw new HyperscaleError(
    'bad-input',
    `${entries.length} labels of ${bytes} bytes are too many`,
    {
      hint: `A backup has at most ${maxLabels} labels, of ${maxLabelBytes} bytes together.`,
    },
  );
}

export function encodeRecord(record: Manifest | Pin): Buffer {
  return Buffer.from(JSON.stringify(record));
}

/** @throws `damaged` when it is no manifest, or that of another backup than its name says. */
export function decodeManifest(content: Buffer, entry: BackupEntry): Manifest {
  const name = manifestName(entry);
  const fields = new Fields(content, name);
  const said = new Fields(fields.object('entry'), name);
  const saidEntry: BackupEntry = {
    ...{ volume: said.text('volume'), id: said.text('id'), name: said.text('name') },
    ...{ at: said.count('at'), sizeBytes: said.count('sizeBytes') },
    ...{ storedBytes: said.count('storedBytes'), volumeName: said.text('volumeName') },
  };
  if (manifestName(saidEntry) !== name) throw fields.bad('entry');
  return {
    entry: saidEntry,
    parent: fields.idOrNull('parent'),
    labels: fields.labels('labels'),
    root: fields.ref('root'),
  };
}

/** @throws `damaged` when it is no pin. */
export function decodePin(content: Buffer, name: string): Pin {
  const fields = new Fields(content, name);
  const use = fields.text('use');
  if (use !== 'write' && use !== 'read') throw fields.bad('use');
  return {
    ...{ use, name: fields.text('name'), at: fields.count('at') },
    ...{ sizeBytes: fields.count('sizeBytes'), since: fields.count('since') },
    ...{ parent: fields.idOrNull('parent'), root: fields.ref('root') },
    rootSizeBytes: fields.count('rootSizeBytes'),
  };
}

/** Fields of a JSON object, each read as what it must be. */
class Fields {
  readonly #fields: Record<string, unknown>;
  readonly #where: string;

  constructor(source: Buffer | object, where: string) {
    this.#where = where;
    this.#fields = { ...(Buffer.isBuffer(source) ? this.#parse(source) : source) };
  }

  text(field: string): string {
    const value = this.#fields[field];
    if (typeof value !== 'string') throw this.bad(field);
    return value;
  }

  count(field: string): number {
    const value = this.#fields[field];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw this.bad(field);
    }
    return value;
  }

  idOrNull(field: string): string | null {
    if (this.#fields[field] === null) return null;
    const id = this.text(field);
    if (!isId(id)) throw this.bad(field);
    return id;
  }

  object(field: string): object {
    const value = this.#fields[field];
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.bad(field);
    return value;
  }

  labels(field: string): Labels {
    const labels: [string, string][] = [];
    for (const [key, text] of Object.entries(this.object(field))) {
      if (typeof text !== 'string') throw this.bad(field);
      labels.push([key, text]);
    }
    return Object.fromEntries(labels);
  }

  ref(field: string): Ref | null {
    if (this.#fields[field] === null) return null;
    const inner = new Fields(this.object(field), this.#where);
    const [session, digest, bytes] = [
      inner.text('session'),
      inner.text('digest'),
      inner.count('bytes'),
    ];
    if (!isId(session) || !/^[0-9a-f]{64}$/.test(digest) || bytes === 0 || bytes >= 2 ** 32) {
      throw this.bad(field);
    }
    return { session, digest, bytes };
  }

  bad(field: string, cause?: unknown): HyperscaleError {
    const text = `${this.#where} makes no sense: ${field}`;
    return new HyperscaleError('damaged', text, { values: { name: this.#where, field }, cause });
  }

  #parse(content: Buffer): object {
    let value: unknown;
    try {
      value = JSON.parse(content.toString('utf8'));
    } catch (error) {
      throw this.bad('it is not JSON', error);
    }
    if (typeof value !== 'object' || value === null) throw this.bad('it is no object');
    return value;
  }
}

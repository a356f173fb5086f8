import { open } from 'node:fs/promises';
import { parse } from 'yaml';
import { openDirectoryTarget } from '../backup/directory-target.ts';
import { createRepository, openRepository, type Repository } from '../backup/repository.ts';
import { openS3Target, type S3Options } from '../backup/s3-target.ts';
import type { Target } from '../backup/target.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { TargetSettings } from './backup-config.ts';

/** Nobody but the owner may have any right on a file with secrets. */
const othersMode = 0o077;
const maxSecretBytes = 64 * 1024;

/**
 * The backup targets of this node's configuration, by name. Repositories are opened when they are
 * first asked for, and kept. A directory whose server is gone can hang whoever touches it, threads of
 * this process included: only processes that nobody else needs should use it.
 */
export class BackupTargets {
  readonly #settings: Readonly<Record<string, TargetSettings>>;
  readonly #open = new Map<string, Promise<Repository>>();

  constructor(settings: Readonly<Record<string, TargetSettings>>) {
    this.#settings = settings;
  }

  names(): string[] {
    return Object.keys(this.#settings).sort();
  }

  /**
   * The repository of a target; not to be closed by the caller.
   * @throws `not-found` when there is no such target, or no repository in it; else as `openTarget`.
   */
  async open(name: string): Promise<Repository> {
    const settings = this.#of(name);
    const known = this.#open.get(name);
    if (known !== undefined) return await known;
    const opening = openBackupTarget(settings);
    this.#open.set(name, opening);
    // Tried again by the next one who asks.
    opening.catch(() => this.#open.delete(name));
    return await opening;
  }

  /** Makes the repository of a target that has none. @throws `exists` */
  async create(name: string, options: { chunkBytes?: number } = {}): Promise<Repository> {
    const settings = this.#of(name);
    const key = await keyOf(settings);
    const target = await targetOf(settings);
    try {
      const made = await createRepository(target, { ...options, ...(key && { key }) });
      this.#open.set(name, Promise.resolve(made));
      return made;
    } catch (error) {
      target.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    for (const one of opened) if (one.status === 'fulfilled') one.value.close();
  }

  #of(name: string): TargetSettings {
    const settings = Object.hasOwn(this.#settings, name) ? this.#settings[name] : undefined;
    if (settings !== undefined) return settings;
    const names = this.names().join(', ');
    throw new HyperscaleError('not-found', `this node has no backup target ${name}`, {
      hint:
        names === ''
          ? 'Targets are set in its configuration (backup.targets): docs/backup.md.'
          : `Its targets are ${names}.`,
      values: { target: name },
    });
  }
}

/**
 * Opens the repository in a target. The caller closes it.
 * @throws `not-found`, `not-allowed` for a file of secrets that others may read, `bad-input` when it
 *   makes no sense or the key is not the repository's, `unavailable` when the target is not reached.
 */
export async function openBackupTarget(settings: TargetSettings): Promise<Repository> {
  const key = await keyOf(settings);
  const target = await targetOf(settings);
  try {
    return await openRepository(target, key);
  } catch (error) {
    target.close();
    throw error;
  }
}

async function targetOf(settings: TargetSettings): Promise<Target> {
  const { directory } = settings;
  return directory === undefined
    ? await openS3Target(await s3Options(settings))
    : await openDirectoryTarget(directory);
}

async function keyOf({ keyFile }: TargetSettings): Promise<Buffer | undefined> {
  return keyFile === undefined ? undefined : await readSecretFile(keyFile);
}

async function s3Options(settings: TargetSettings): Promise<S3Options> {
  const {
    bucket = '',
    caFile,
    credentialsFile = '',
    endpoint,
    pathStyle,
    prefix,
    region,
  } = settings;
  return {
    bucket,
    ...(prefix === undefined ? {} : { prefix }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
    ...(caFile === undefined ? {} : { ca: (await readSmall(caFile, 0)).toString('utf8') }),
    credentials: credentialsIn(await readSecretFile(credentialsFile), credentialsFile),
  };
}

/** YAML or JSON: `accessKeyId`, `secretAccessKey` and, if there is one, `sessionToken`. */
function credentialsIn(content: Buffer, path: string): S3Options['credentials'] {
  let given: unknown;
  try {
    given = parse(content.toString('utf8'));
  } catch {
    // What the parser says may quote the secret.
    given = null;
  }
  const fields: Record<string, unknown> =
    typeof given === 'object' && given !== null ? { ...given } : {};
  const { accessKeyId, secretAccessKey, sessionToken } = fields;
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') {
    throw new HyperscaleError('bad-input', `${path} holds no credentials`, {
      hint: 'It has two lines: "accessKeyId: …" and "secretAccessKey: …".',
    });
  }
  return {
    accessKeyId,
    secretAccessKey,
    ...(typeof sessionToken === 'string' ? { sessionToken } : {}),
  };
}

async function readSecretFile(path: string): Promise<Buffer> {
  return await readSmall(path, othersMode);
}

/** @param forbidden bits of the mode that the file must not have. */
async function readSmall(path: string, forbidden: number): Promise<Buffer> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new HyperscaleError('not-found', `cannot read ${path}: ${errorText(error)}`, {
      hint: 'The backup targets in the configuration name this file.',
      cause: error,
    });
  });
  try {
    const status = await file.stat();
    if (!status.isFile() || status.size > maxSecretBytes) {
      throw new HyperscaleError(
        'bad-input',
        `${path} is no file of at most ${maxSecretBytes} bytes`,
      );
    }
    if ((status.mode & forbidden) !== 0) {
      const mode = (status.mode & 0o777).toString(8);
      throw new HyperscaleError('not-allowed', `others may read ${path} (its mode is ${mode})`, {
        hint: `Take their rights: chmod 600 ${path}`,
      });
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

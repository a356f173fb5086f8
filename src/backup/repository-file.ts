/** `repository.json`: what a repository is. Written once, read by all who open it. */
import { createHash } from 'node:crypto';
import { HyperscaleError } from '../errors.ts';
import { Keys, sameCode } from './keys.ts';
import { isId, repositoryFile } from './layout.ts';
import { checkChunkBytes } from './shape.ts';
import type { Target } from './target.ts';

export type RepositoryFile = {
  format: 'hyperscale-backup';
  version: 1;
  id: string;
  chunkBytes: number;
  /** Of the keys, hexadecimal; null where nothing is encrypted. */
  salt: string | null;
  /** Over all of the above: a plain hash, or one that proves that a key is the right one. */
  check: string;
};

const maxFileBytes = 4096;

/** @throws `exists` when the target holds a repository. */
export async function writeRepositoryFile(
  target: Target,
  parts: Pick<RepositoryFile, 'id' | 'chunkBytes' | 'salt'>,
  keys: Keys | null,
): Promise<RepositoryFile> {
  const unchecked = { format: 'hyperscale-backup', version: 1, ...parts, check: '' } as const;
  const file = { ...unchecked, check: checkValue(unchecked, keys) };
  const content = Buffer.from(`${JSON.stringify(file, null, 2)}\n`);
  if (!(await target.putIfAbsent(repositoryFile, content))) {
    throw new HyperscaleError('exists', `${target.description} holds a backup repository already`, {
      hint: 'Open it, or choose another place.',
    });
  }
  await target.flush();
  return file;
}

/**
 * @throws `not-found` when there is none, `old-software` when it is newer than this software,
 * `damaged` when it makes no sense.
 */
export async function readRepositoryFile(target: Target): Promise<RepositoryFile> {
  const content = await target.get(repositoryFile, maxFileBytes);
  if (content === null) {
    throw new HyperscaleError(
      'not-found',
      `there is no backup repository in ${target.description}`,
      {
        hint: 'Is it mounted, and is it the right place? If so, create the repository first.',
      },
    );
  }
  const file = parse(content, target.description);
  if (file.version !== 1) {
    const text = `the repository in ${target.description} has version ${String(file.version)}`;
    throw new HyperscaleError('old-software', text, {
      hint: 'This software knows version 1; use a newer one.',
    });
  }
  return checkFile(file, target.description);
}

/**
 * The keys for a repository, null when it is not encrypted.
 * @throws `bad-input` when the key is missing, wrong, or given for a repository without encryption.
 */
export async function unlock(
  file: RepositoryFile,
  operatorKey: Buffer | undefined,
  where: string,
): Promise<Keys | null> {
  if (file.salt === null && operatorKey !== undefined) {
    // Whoever replaced the repository by one without encryption would read all that comes.
    throw new HyperscaleError('bad-input', `the repository in ${where} is not encrypted`, {
      hint: 'Remove the key from the configuration if that is right; else look who changed the repository.',
    });
  }
  if (file.salt !== null && operatorKey === undefined) {
    throw new HyperscaleError('bad-input', `the repository in ${where} is encrypted`, {
      hint: 'Configure its key.',
    });
  }
  const keys =
    file.salt === null || operatorKey === undefined
      ? null
      : await Keys.derive(operatorKey, Buffer.from(file.salt, 'hex'));
  if (sameCode(file.check, checkValue(file, keys))) return keys;
  if (keys === null) throw damaged(where, 'its check value does not match');
  throw new HyperscaleError('bad-input', `the key is not the one of the repository in ${where}`, {
    hint: `Use the key that repository ${file.id} was created with.`,
    values: { repository: file.id },
  });
}

function checkValue(file: RepositoryFile, keys: Keys | null): string {
  const { chunkBytes, format, id, salt, version } = file;
  const text = [format, version, id, chunkBytes, salt ?? '-'].join('\n');
  return keys === null ? createHash('sha256').update(text).digest('hex') : keys.code(text);
}

function parse(content: Buffer, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch (error) {
    throw damaged(where, 'it is not JSON', error);
  }
  if (typeof value !== 'object' || value === null || !('format' in value)) {
    throw damaged(where, 'it is no description of a repository');
  }
  if (value.format !== 'hyperscale-backup') throw damaged(where, 'it is of other software');
  return { ...value };
}

function checkFile(file: Record<string, unknown>, where: string): RepositoryFile {
  const { check, chunkBytes, id, salt } = file;
  if (typeof id !== 'string' || !isId(id)) throw damaged(where, 'it has no id');
  if (typeof check !== 'string') throw damaged(where, 'it has no check value');
  if (typeof chunkBytes !== 'number') throw damaged(where, 'it has no chunk size');
  if (salt !== null && (typeof salt !== 'string' || !isId(salt))) {
    throw damaged(where, 'its salt makes no sense');
  }
  checkChunkBytes(chunkBytes);
  return { format: 'hyperscale-backup', version: 1, id, chunkBytes, salt, check };
}

function damaged(where: string, why: string, cause?: unknown): HyperscaleError {
  const text = `${repositoryFile} in ${where} is damaged: ${why}`;
  return new HyperscaleError('damaged', text, {
    hint: 'Restore that file from a copy; without it no backup of the repository can be read.',
    cause,
  });
}

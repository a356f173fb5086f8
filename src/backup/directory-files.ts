/** Steps on the files of a repository in a directory. */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { link, lstat, mkdir, open, opendir, rename, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { hasCode, unlinkIfThere } from '../engine/durable.ts';
import { HyperscaleError } from '../errors.ts';
import { directoryError } from './directory-errors.ts';
import { checkCancelled } from './target.ts';

/** Half-written files of crashed writers lie here; the name cannot be an object's. */
const temporaryFolder = '.tmp';
const temporaryMaxAgeMs = 7 * 24 * 3600 * 1000;

/** Null when there is no such file. */
export async function openIfThere(path: string, flags: number): Promise<FileHandle | null> {
  try {
    return await open(path, flags);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

/** Exactly so many bytes, however the file changes meanwhile. */
export async function readAll(file: FileHandle, name: string, bytes: number): Promise<Buffer> {
  const content = Buffer.allocUnsafe(bytes);
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await file.read(content, done, bytes - done, done);
    if (bytesRead === 0) throw new HyperscaleError('damaged', `${name} ends before its length`);
    done += bytesRead;
  }
  return content;
}

/** Names the file unless the name is taken (EEXIST), which link(2) decides at once. */
export async function linkOrRename(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    // File systems without hard links.
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error;
    const taken = await openIfThere(path, constants.O_RDONLY);
    if (taken === null) return await rename(temporary, path);
    await taken.close();
    throw Object.assign(new Error(`${path} exists`), { code: 'EEXIST' });
  }
}

/** What is in a directory; nothing when there is none. */
export async function* entriesOf(path: string, signal: AbortSignal | undefined) {
  checkCancelled(signal);
  try {
    for await (const entry of await opendir(path, { bufferSize: 256 })) {
      checkCancelled(signal);
      yield entry;
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw directoryError(error, path);
  }
}

/** Removes what writers left that died a week ago or earlier. */
export async function clearTemporaries(root: string): Promise<void> {
  const folder = join(root, temporaryFolder);
  for await (const entry of entriesOf(folder, undefined)) {
    const path = join(folder, entry.name);
    const status = await lstat(path).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return null;
      throw error;
    });
    if (status?.isFile() === true && Date.now() - status.mtimeMs > temporaryMaxAgeMs) {
      await unlinkIfThere(path);
    }
  }
}

/**
 * Writes and fsyncs a file that is no object yet. @returns its path.
 * @param first whether it makes the place a repository; else nothing is made where there is none.
 */
export async function writeTemporary(
  root: string,
  content: Uint8Array,
  first: boolean,
): Promise<string> {
  const folder = join(root, temporaryFolder);
  if (first) await mkdir(folder, { recursive: true, mode: 0o750 });
  const path = join(folder, randomUUID());
  const file = await open(path, 'wx', 0o640).catch((error: unknown) => {
    throw hasCode(error, 'ENOENT') ? notMounted(root, error) : error;
  });
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return path;
}

/** Makes a folder and those above it. @throws `damaged` when one of them is something else. */
export async function makeFolders(root: string, folder: string): Promise<void> {
  let path = root;
  for (const part of relative(root, folder).split('/')) {
    path = join(path, part);
    await mkdir(path, { mode: 0o750 }).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
    if (!(await lstat(path)).isDirectory()) {
      throw new HyperscaleError('damaged', `${path} is not a folder`, {
        hint: `Look at what is in ${root}; a repository has no symbolic links.`,
      });
    }
  }
}

function notMounted(root: string, cause: unknown): HyperscaleError {
  return new HyperscaleError('unavailable', `the repository in ${root} is not there any more`, {
    hint: 'Is its file system mounted? Nothing is written into an empty mount point.',
    cause,
  });
}

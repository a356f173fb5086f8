/** A repository in a directory: a local disk, or a mount of NFS, SMB or another file system. */
import { constants } from 'node:fs';
import { lstat, realpath, rename, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasCode, syncPath, unlinkIfThere } from '../engine/durable.ts';
import { HyperscaleError } from '../errors.ts';
import { directoryError } from './directory-errors.ts';
import {
  clearTemporaries,
  entriesOf,
  linkOrRename,
  makeFolders,
  openIfThere,
  readAll,
  writeTemporary,
} from './directory-files.ts';
import { repositoryFile } from './layout.ts';
import type { ObjectSize, Target } from './target.ts';
import { checkCancelled, checkFolder, checkObjectName, isObjectName, tooLong } from './target.ts';

/** Neither a link nor a named pipe, which would hang, is taken for an object. */
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * File systems (statfs(2)) whose clients may cache directories for a time: NFS, SMB, SMB 2 and 3,
 * FUSE. NFS asks the server when a directory is opened, but not if it is mounted with `nocto`; then
 * it does so after 60 s (acdirmax in nfs(5)).
 */
const lateListings = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546]);
const listingLagMs = 90_000;

/**
 * Opens a directory that exists.
 * @throws `not-found` when there is none, `bad-input` when it is something else.
 */
export async function openDirectoryTarget(path: string): Promise<Target> {
  if (!path.startsWith('/')) {
    throw new HyperscaleError('bad-input', `the backup directory ${path} is not an absolute path`);
  }
  try {
    const root = await realpath(path);
    if (!(await stat(root)).isDirectory()) {
      throw new HyperscaleError('bad-input', `${path} is not a directory`);
    }
    const late = lateListings.has((await statfs(root)).type >>> 0);
    await clearTemporaries(root);
    return new DirectoryTarget(root, late ? listingLagMs : 0);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) {
      throw new HyperscaleError('not-found', `there is no directory ${path}`, {
        hint: 'Create it, or mount what belongs there.',
        cause: error,
      });
    }
    throw directoryError(error, path);
  }
}

class DirectoryTarget implements Target {
  readonly description: string;
  readonly listingLagMs: number;
  readonly #root: string;
  /** Directories with entries that fsync has not seen. */
  readonly #unsynced = new Set<string>();

  constructor(root: string, lagMs: number) {
    this.#root = root;
    this.description = root;
    this.listingLagMs = lagMs;
  }

  async get(name: string, maxBytes: number, signal?: AbortSignal): Promise<Buffer | null> {
    return await this.#on(name, signal, async (path) => {
      const file = await openIfThere(path, readFlags);
      if (file === null) return null;
      try {
        const status = await file.stat();
        if (!status.isFile()) throw new HyperscaleError('damaged', `${name} is not a file`);
        if (status.size > maxBytes) throw tooLong(name, status.size, maxBytes);
        return await readAll(file, name, status.size);
      } catch (error) {
        // The medium does not return what it was given.
        if (!hasCode(error, 'EIO')) throw error;
        const text = `${name} cannot be read from the medium`;
        throw new HyperscaleError('damaged', text, { cause: error });
      } finally {
        await file.close();
      }
    });
  }

  async size(name: string, signal?: AbortSignal): Promise<number | null> {
    return await this.#on(name, signal, async (path) => {
      // By open(2), for which NFS asks the server; stat(2) may tell of a file that is gone.
      const file = await openIfThere(path, readFlags);
      if (file === null) return null;
      try {
        const status = await file.stat();
        return status.isFile() ? status.size : null;
      } finally {
        await file.close();
      }
    });
  }

  async put(name: string, content: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#on(name, signal, async (path) => {
      const temporary = await writeTemporary(this.#root, content, name === repositoryFile);
      await this.#inParent(name, path, temporary, () => rename(temporary, path));
    });
  }

  async putIfAbsent(name: string, content: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    return await this.#on(name, signal, async (path) => {
      const temporary = await writeTemporary(this.#root, content, name === repositoryFile);
      try {
        await this.#inParent(name, path, temporary, () => linkOrRename(temporary, path));
        return true;
      } catch (error) {
        if (hasCode(error, 'EEXIST')) return false;
        throw error;
      } finally {
        await unlinkIfThere(temporary);
      }
    });
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    await this.#on(name, signal, async (path) => {
      try {
        await this.#checkParent(name, path);
        await unlinkIfThere(path);
      } catch (error) {
        if (hasCode(error, 'ENOENT', 'ENOTDIR')) return;
        throw error;
      }
      // Empty folders go; the top ones stay.
      for (let folder = dirname(name); folder.includes('/'); folder = dirname(folder)) {
        try {
          await rmdir(join(this.#root, folder));
        } catch (error) {
          if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'EBUSY')) break;
          throw error;
        }
      }
    });
  }

  async flush(signal?: AbortSignal): Promise<void> {
    const folders = [...this.#unsynced];
    this.#unsynced.clear();
    try {
      for (const folder of folders) {
        checkCancelled(signal);
        await syncPath(folder).catch((error: unknown) => {
          // Empty, so it was cleared away.
          if (!hasCode(error, 'ENOENT')) throw error;
        });
      }
    } catch (error) {
      for (const folder of folders) this.#unsynced.add(folder);
      throw directoryError(error, this.#root);
    }
  }

  async *names(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    for await (const { name } of this.#walk(folder, signal)) yield name;
  }

  async *sizes(folder: string, signal?: AbortSignal): AsyncIterable<ObjectSize> {
    for await (const { name, path } of this.#walk(folder, signal)) {
      try {
        yield { name, bytes: (await lstat(path)).size };
      } catch (error) {
        // Deleted since it was listed.
        if (!hasCode(error, 'ENOENT')) throw directoryError(error, path);
      }
    }
  }

  async *folders(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    for await (const entry of this.#entries(folder, signal)) {
      if (entry.isDirectory() && isObjectName(entry.name)) yield entry.name;
    }
  }

  close(): void {}

  async *#walk(
    folder: string,
    signal: AbortSignal | undefined,
  ): AsyncIterable<{ name: string; path: string }> {
    for await (const entry of this.#entries(folder, signal)) {
      const name = `${folder}${entry.name}`;
      // Whatever is hidden is not ours: `.nfs…` of an NFS client, for one.
      if (!isObjectName(name)) continue;
      if (entry.isDirectory()) yield* this.#walk(`${name}/`, signal);
      else if (entry.isFile()) yield { name, path: join(this.#root, name) };
    }
  }

  async *#entries(folder: string, signal: AbortSignal | undefined) {
    checkFolder(folder);
    checkCancelled(signal);
    const path = join(this.#root, folder);
    try {
      await this.#checkParent(folder, join(path, 'any'));
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return;
      throw directoryError(error, path);
    }
    yield* entriesOf(path, signal);
  }

  async #on<T>(
    name: string,
    signal: AbortSignal | undefined,
    work: (path: string) => Promise<T>,
  ): Promise<T> {
    checkObjectName(name);
    checkCancelled(signal);
    const path = join(this.#root, name);
    try {
      return await work(path);
    } catch (error) {
      throw directoryError(error, path);
    }
  }

  /** Runs `step`, which names a file in the parent of `path`; makes the parent when it is missing. */
  async #inParent(
    name: string,
    path: string,
    temporary: string,
    step: () => Promise<void>,
  ): Promise<void> {
    const parent = dirname(path);
    try {
      // More than once: another host may clear away a folder that is empty still.
      for (let attempt = 1; ; attempt += 1) {
        try {
          await this.#checkParent(name, path);
          await step();
          break;
        } catch (error) {
          if (!hasCode(error, 'ENOENT') || attempt === 5) throw error;
          await makeFolders(this.#root, parent);
        }
      }
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    for (let folder = parent; folder.startsWith(this.#root); folder = dirname(folder)) {
      this.#unsynced.add(folder);
      if (folder === this.#root) break;
    }
  }

  /** A link that was planted in the repository must not lead us elsewhere. */
  async #checkParent(name: string, path: string): Promise<void> {
    const parent = dirname(path);
    if ((await realpath(parent)) === parent) return;
    throw new HyperscaleError('damaged', `the folder of ${name} is a link to another place`, {
      hint: `Look at what is in ${this.#root}; a repository has no symbolic links.`,
    });
  }
}

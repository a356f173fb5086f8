/** Links to block devices under names that people or programs choose. */
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorText, HyperscaleError } from '../errors.ts';
import { hasCode } from './durable.ts';

const longest = 64;

/** @throws `bad-input` unless it is one path component of harmless characters */
export function checkLinkName(name: string): string {
  const harmless = /^[A-Za-z0-9{}._-]+$/.test(name) && name !== '.' && !name.includes('..');
  if (!harmless || name.length > longest) {
    const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
    throw new HyperscaleError(
      'bad-input',
      `${JSON.stringify(shown)} is not the name of a device's link`,
      { hint: `Use 1 to ${longest} letters, digits, "{", "}", ".", "_", "-"; not "." or "..".` },
    );
  }
  return name;
}

/**
 * The links in one directory. Ours are those that lead into the directory of our devices, whatever
 * their name, also when what they lead to is gone: nothing needs to be remembered.
 */
export class BlockDeviceLinks {
  readonly #directory: string;
  readonly #devices: string;

  /** @param devices where the links lead to, an absolute path. */
  constructor(directory: string, devices: string) {
    this.#directory = directory;
    this.#devices = devices;
  }

  /** Paths of our links that lead to `target`. */
  to(target: string): string[] {
    return this.#ours().flatMap((link) => (link.target === target ? [link.path] : []));
  }

  /**
   * Makes a link; one that is there already is fine.
   * @param live says whether the device that another of our links leads to is one that is in use.
   * @throws `exists` when the name is taken by anything that is not a left-over of ours
   */
  make(name: string, target: string, live: (target: string) => boolean): string {
    const path = join(this.#directory, checkLinkName(name));
    const there = this.#target(path);
    if (there === target) return path;
    if (there !== undefined && !live(there)) unlinkSync(path);
    if (!this.#link(path, target)) {
      if (this.#target(path) === target) return path;
      throw new HyperscaleError('exists', `there is a ${path} already`, {
        hint:
          there === undefined
            ? 'It is not a link of HyperScale and is never replaced. Choose another name.'
            : 'It leads to the device of another volume. Choose another name.',
        values: { path },
      });
    }
    return path;
  }

  /** Removes our links that do not lead to a live device. */
  removeUnless(live: (target: string) => boolean): string[] {
    const stale = this.#ours().filter(({ target }) => !live(target));
    for (const { path } of stale) unlinkSync(path);
    return stale.map(({ path }) => path);
  }

  /** @returns false when the name is taken */
  #link(path: string, target: string): boolean {
    try {
      if (!existsSync(this.#directory)) mkdirSync(this.#directory, { recursive: true });
      symlinkSync(target, path);
      return true;
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw new HyperscaleError('engine', `cannot make the link ${path}: ${errorText(error)}`, {
        hint: 'Look at the setting deviceDirectory.',
        cause: error,
      });
    }
  }

  #ours(): { path: string; target: string }[] {
    return this.#names().flatMap((name) => {
      const path = join(this.#directory, name);
      const target = this.#target(path);
      return target === undefined ? [] : [{ path, target }];
    });
  }

  #names(): string[] {
    try {
      const entries = readdirSync(this.#directory, { withFileTypes: true });
      return entries.filter((entry) => entry.isSymbolicLink()).map((entry) => entry.name);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return [];
      throw error;
    }
  }

  /** Where a link of ours leads to; undefined when there is none, or it is not ours. */
  #target(path: string): string | undefined {
    try {
      const target = readlinkSync(path);
      return dirname(target) === this.#devices ? target : undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'EINVAL', 'ENOTDIR')) return undefined;
      throw error;
    }
  }
}

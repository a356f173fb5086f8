/**
 * Space that a pool keeps back for small files of the daemon: fences and records are written when
 * guests have filled everything else. Two ways, the sure one first: the file is written into a piece
 * of the reserve, which has its blocks already, and what it replaces becomes a piece again; so
 * replacing files goes on for ever, and each new file takes one piece. Where that cannot be (a file
 * larger than a piece, a directory that must grow, a file system that never writes in place) pieces
 * are deleted, one after the other, until there is space; a guest may be quicker and take it.
 */
import { randomBytes } from 'node:crypto';
import { link, open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  hasCode,
  makeDirectory,
  syncPath,
  unlinkIfThere,
  writeAll,
  writeDurably,
} from './durable.ts';
import { Serial } from './serial.ts';

export const reserveDirectory = 'reserve';
export const pieceBytes = 64 * 1024;
/** What `stat` counts in. */
const sectorBytes = 512;
const unfinished = '.tmp';
/** It never takes more than this part of its pool. */
const largestPart = 1 / 100;

type Space = { totalBytes: number; freeBytes: number };

/** Replaces a file so that after a power cut either the old or the new content is there. */
export type WriteDurably = (path: string, content: string) => Promise<void>;

export class Reserve {
  readonly #directory: string;
  readonly #pieces: number;
  /** Of the pieces: none is taken twice. */
  readonly #serial = new Serial();

  /** @param bytes how much is kept back; less than a piece is nothing. */
  constructor(pool: string, bytes: number) {
    this.#directory = join(pool, reserveDirectory);
    this.#pieces = Math.floor(bytes / pieceBytes);
    makeDirectory(this.#directory);
  }

  /**
   * Makes it as large as it should be, unless that would take most of what is free.
   * @returns the pieces that there are.
   */
  async fill({ totalBytes, freeBytes }: Space): Promise<number> {
    const wanted = Math.min(this.#pieces, Math.floor((totalBytes * largestPart) / pieceBytes));
    return this.#serial.run(async () => {
      const whole = await this.#tidy();
      const missing = wanted - whole.length;
      if (missing <= 0) {
        for (const name of whole.slice(wanted)) await unlinkIfThere(this.#path(name));
        return wanted;
      }
      if (missing * pieceBytes * 2 > freeBytes) return whole.length;
      for (let made = 0; made < missing; made += 1) {
        if (!(await this.#make())) return whole.length + made;
      }
      return wanted;
    });
  }

  /** As `writeDurably`, also when the pool is full. @throws ENOSPC when the reserve is used up too */
  readonly write: WriteDurably = async (path, content) => {
    try {
      await writeDurably(path, content);
    } catch (error) {
      if (!isFull(error)) throw error;
      await unlinkIfThere(`${path}~`);
      if (await this.#writeIntoPiece(path, Buffer.from(content))) return;
      await this.during(() => writeDurably(path, content));
    }
  };

  /** Runs work that needs little space; gives up pieces while there is none, until none is left. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isFull(error) || !(await this.#giveUp())) throw error;
      }
    }
  }

  async #writeIntoPiece(path: string, content: Buffer): Promise<boolean> {
    const temporary = `${path}~`;
    try {
      if (!(await this.#take(temporary, content.length))) return false;
      const file = await open(temporary, 'r+');
      try {
        await writeAll(file, content, 0);
        await file.truncate(content.length);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#keepOld(path);
      await rename(temporary, path);
      await syncPath(dirname(path));
      return true;
    } catch (error) {
      await unlinkIfThere(temporary);
      if (isFull(error)) return false;
      throw error;
    }
  }

  /** Moves a piece that has room for so much to a path; false when there is none. */
  #take(to: string, bytes: number): Promise<boolean> {
    return this.#serial.run(async () => {
      const fitting = (await this.#list())
        .filter((piece) => piece.links === 1 && piece.allocated >= Math.max(bytes, 1))
        .sort((a, b) => a.allocated - b.allocated);
      const [piece] = fitting;
      if (piece === undefined) return false;
      await rename(this.#path(piece.name), to);
      return true;
    });
  }

  /** What is replaced keeps its blocks: they take the next file. */
  async #keepOld(path: string): Promise<void> {
    await link(path, this.#path(newName())).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT') && !isFull(error)) throw error;
    });
  }

  #giveUp(): Promise<boolean> {
    return this.#serial.run(async () => {
      const [piece] = (await this.#list()).sort((a, b) => b.allocated - a.allocated);
      if (piece === undefined) return false;
      await unlinkIfThere(this.#path(piece.name));
      return true;
    });
  }

  /** Deletes what is no whole piece. @returns the names of those that are. */
  async #tidy(): Promise<string[]> {
    const whole: string[] = [];
    for (const { name, allocated, links } of await this.#list()) {
      if (links === 1 && allocated >= pieceBytes && !name.endsWith(unfinished)) whole.push(name);
      else await unlinkIfThere(this.#path(name));
    }
    return whole;
  }

  /** One more piece, if there is space; random, so that no file system makes less of it. */
  async #make(): Promise<boolean> {
    const name = newName();
    const temporary = `${this.#path(name)}${unfinished}`;
    try {
      const file = await open(temporary, 'wx', 0o640);
      try {
        await file.writeFile(randomBytes(pieceBytes));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path(name));
      return true;
    } catch (error) {
      await unlinkIfThere(temporary);
      if (isFull(error)) return false;
      throw error;
    }
  }

  /** `links`: one whose file has another name too was left by a crash and is in use there. */
  async #list(): Promise<{ name: string; allocated: number; links: number }[]> {
    const names = await readdir(this.#directory);
    return Promise.all(
      names.map(async (name) => {
        const { blocks, nlink } = await stat(this.#path(name));
        return { name, allocated: blocks * sectorBytes, links: nlink };
      }),
    );
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

function newName(): string {
  return randomBytes(8).toString('hex');
}

function isFull(error: unknown): boolean {
  return hasCode(error, 'ENOSPC', 'EDQUOT');
}

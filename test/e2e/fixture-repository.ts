/** A repository with backups of a volume on two days, made without a cluster. */
import { randomFillSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRepository, openDirectoryTarget } from '../../src/backup/index.ts';
import type { TargetSettings } from '../../src/daemon/backup-config.ts';

const mib = 1 << 20;
const dayMs = 24 * 3_600_000;
const monday = Date.parse('2026-11-16T04:00:00Z');
const key = Buffer.from('a key of some operator');

export const sizeBytes = 96 * mib;
/** What is not zeros on each day. */
export const storedBytes = 40 * mib;

export type Day = { id: string; at: number; file: string };

export class TestRepository {
  readonly directory = mkdtempSync(join(tmpdir(), 'hs-restore-'));
  readonly backups = join(this.directory, 'backups');
  /** For the configuration of nodes. `wrong` and `keyless` cannot open it. */
  readonly targets: Record<string, TargetSettings> = {
    nas: { directory: this.backups, keyFile: this.#path('key') },
    keyless: { directory: this.backups },
    wrong: { directory: this.backups, keyFile: this.#path('wrong') },
  };
  readonly #days: Day[] = [];

  day(number: number): Day {
    const found = this.#days[number];
    if (found === undefined) throw new Error(`there is no backup of day ${number}`);
    return found;
  }

  async make(): Promise<void> {
    mkdirSync(this.backups);
    writeFileSync(this.#path('key'), key, { mode: 0o600 });
    writeFileSync(this.#path('wrong'), 'the key of somebody else', { mode: 0o600 });
    const repository = await createRepository(await openDirectoryTarget(this.backups), { key });
    for (const number of [0, 1]) {
      const content = Buffer.alloc(sizeBytes);
      // What no compression makes smaller.
      randomFillSync(content, number * 7 * mib, storedBytes);
      const file = this.#path(`day-${number}`);
      writeFileSync(file, content);
      const at = monday + number * dayMs;
      const { entry } = await repository.write({
        ...{ volume: 'c0ffee00-0000-4000-8000-000000000000', volumeName: 'db1', at, sizeBytes },
        ...{ name: `day-${number}`, parent: this.#days.at(-1)?.id ?? null, changed: null },
        read: async (offset, length) => Buffer.from(content.subarray(offset, offset + length)),
      });
      this.#days.push({ file, at, id: entry.id });
    }
    repository.close();
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }

  #path(name: string): string {
    return join(this.directory, name);
  }
}

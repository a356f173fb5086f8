import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../errors.ts';
import type { Log } from '../node/context.ts';
import type { EtcdStore, StoreSeen } from '../store/etcd-store.ts';

const saveEveryMs = 5_000;

function pathIn(pool: string): string {
  return join(pool, 'store-seen.json');
}

/**
 * What this node has seen of the metadata store. An etcd that is another one, or was set back, does
 * not know what the pools hold by now: nothing may be opened or deleted by it (protocol review,
 * rule 11).
 */
export async function readStoreSeen(pool: string): Promise<StoreSeen | null> {
  try {
    return JSON.parse(await readFile(pathIn(pool), 'utf8')) as StoreSeen;
  } catch {
    // A new pool has seen nothing; a file cut short by a power cut says nothing either.
    return null;
  }
}

/** Keeps the file current while the daemon lives. A revision a few seconds old is as good. */
export function keepStoreSeen(pool: string, store: EtcdStore, log: Log): { stop(): void } {
  let saved = '';
  const save = async () => {
    const text = JSON.stringify({ clusterId: store.clusterId(), revision: store.revision() });
    if (text === saved) return;
    await writeFile(`${pathIn(pool)}~`, text);
    await rename(`${pathIn(pool)}~`, pathIn(pool));
    saved = text;
  };
  const attempt = () => {
    save().catch((error: unknown) => log.warn({ error: errorText(error) }, 'not noted'));
  };
  attempt();
  const timer = setInterval(attempt, saveEveryMs);
  return { stop: () => clearInterval(timer) };
}

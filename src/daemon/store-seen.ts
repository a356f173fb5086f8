import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { recoveriesOf } from '../cluster/recover-order.ts';
import { writeDurably } from '../engine/durable.ts';
import type { LayerStore } from '../engine/engine.ts';
import type { WriteDurably } from '../engine/reserve.ts';
import { Serial } from '../engine/serial.ts';
import { errorText } from '../errors.ts';
import type { Log } from '../node/context.ts';
import { parseSidecar } from '../node/sidecar.ts';
import type { EtcdStore } from '../store/etcd-store.ts';
import type { StoreSeen } from '../store/identity.ts';
import { laterRevision } from '../store/record-cache.ts';

const saveEveryMs = 5_000;

function pathIn(pool: string): string {
  return join(pool, 'store-seen.json');
}

/**
 * What this node has seen of the metadata store. An etcd that is another one, or was set back, does
 * not know what the pools hold by now: nothing may be opened or deleted by it (protocol review,
 * rule 11). The records kept in the pool tell it too, and more exactly.
 */
export async function readStoreSeen(
  pool: string,
  layers: LayerStore,
): Promise<{ seen: StoreSeen | null; kept: Map<string, string> }> {
  const noted = await readNoted(pool);
  const sidecars = (await layers.records()).flatMap(({ volume, text }) => {
    try {
      return [parseSidecar(volume, text)];
    } catch {
      // A recovery tells of it; here the others have to do.
      return [];
    }
  });
  const newest = sidecars.sort(
    (a, b) =>
      recoveriesOf(b.clusterId) - recoveriesOf(a.clusterId) ||
      (laterRevision(a.revision, b.revision) ? -1 : 1),
  )[0];
  const seen =
    noted ?? (newest ? { clusterId: newest.clusterId, revision: newest.revision } : null);
  const ours = sidecars.filter((s) => s.clusterId === seen?.clusterId);
  return { seen, kept: new Map(ours.map((s) => [s.volume.id, s.revision])) };
}

async function readNoted(pool: string): Promise<StoreSeen | null> {
  try {
    const found: unknown = JSON.parse(await readFile(pathIn(pool), 'utf8'));
    return isSeen(found) ? found : null;
  } catch {
    // A new pool has seen nothing; a file cut short by a power cut says nothing either.
    return null;
  }
}

function isSeen(found: unknown): found is StoreSeen {
  if (typeof found !== 'object' || found === null) return false;
  const { clusterId, revision } = found as Partial<StoreSeen>;
  return typeof clusterId === 'string' && typeof revision === 'string' && /^\d+$/.test(revision);
}

export type StoreSeenKeeper = {
  /** Notes durably that these metadata are believed from now on; then they are. */
  accept(seen: StoreSeen): Promise<void>;
  stop(): void;
};

/** Keeps the file current while the daemon lives. A revision a few seconds old is as good. */
export function keepStoreSeen(
  pool: string,
  store: EtcdStore,
  log: Log,
  write: WriteDurably = writeDurably,
): StoreSeenKeeper {
  const serial = new Serial();
  let saved = '';
  const save = async (seen: StoreSeen | null) => {
    const text = JSON.stringify(seen);
    if (seen === null || text === saved) return;
    await write(pathIn(pool), text);
    saved = text;
  };
  const attempt = () => {
    serial
      .run(() => save(store.seen()))
      .catch((error: unknown) => log.warn({ error: errorText(error) }, 'not noted'));
  };
  attempt();
  const timer = setInterval(attempt, saveEveryMs);
  const off = store.onQuarantine(attempt);
  return {
    accept: (seen) =>
      serial.run(async () => {
        await save(seen);
        await store.accept(seen);
      }),
    stop: () => {
      clearInterval(timer);
      off();
    },
  };
}

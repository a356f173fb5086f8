/** Reading all keys under a prefix at one revision. */

import type { EtcdSession } from './etcd-session.ts';
import type { StoredValue } from './record-cache.ts';
import { storedValue } from './record-cache.ts';

const pageSize = 500;

/** The key after the last one that begins with `prefix`, which ends in an ASCII character. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
  return end;
}

/** Everything under `prefix` as it was at `revision`, which is current (a linearizable read). */
export async function listAll(
  session: EtcdSession,
  prefix: string,
): Promise<{ entries: Map<string, StoredValue>; revision: string }> {
  const entries = new Map<string, StoredValue>();
  let key = Buffer.from(prefix);
  let revision = '0';
  for (;;) {
    const page = await session.range({
      key,
      range_end: prefixEnd(prefix),
      limit: pageSize,
      revision,
    });
    if (revision === '0') revision = page.header.revision;
    for (const kv of page.kvs) entries.set(kv.key.toString('utf8'), storedValue(kv));
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { entries, revision };
    key = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

/**
 * `node bench/lift-limit.ts ETCD VOLUME-ID MAX-IOPS`, run where etcd can be reached: changes the
 * IOPS limit in the record of a volume that is not attached. The limit is what a policy sells, not
 * what the data plane can do, and no call of the API changes it.
 */
import { randomUUID } from 'node:crypto';
import { HyperscaleError } from '../src/errors.ts';
import { createEtcdStore } from '../src/store/etcd-store.ts';

const [endpoint = '', id = '', maxIops = ''] = process.argv.slice(2);
const log = { info: () => undefined, warn: console.error, error: console.error };
const store = await createEtcdStore({ endpoints: [endpoint], log });
try {
  for (;;) {
    const found = await store.readVolume(id);
    if (found === undefined) throw new HyperscaleError('not-found', `there is no volume ${id}`);
    const policy = { ...found.value.policy, maxIops: Number(maxIops) };
    const next = { ...found.value, policy, operation: randomUUID() };
    if ((await store.swap(found, next)) !== undefined) break;
  }
} finally {
  await store.close();
}

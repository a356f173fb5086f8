import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { EtcdConnection } from '../../../src/store/etcd-connection.ts';
import { storeKeys } from '../../../src/store/records.ts';
import { createVmRecords } from '../../../src/store/vm-records.ts';

test('a mistake of ours is told at once, and not tried for ever', async () => {
  let tries = 0;
  const session = {
    lost: new AbortController().signal,
    range: async () => {
      tries += 1;
      await setImmediate();
      throw new TypeError('undefined is not a key');
    },
  };
  const records = createVmRecords({
    connection: { whenReady: async () => session } as unknown as EtcdConnection,
    keys: storeKeys('/test'),
    clock: { now: () => 0 } as never,
    log: { error: () => undefined } as never,
    requestTimeoutMs: 1_000,
    clusterId: () => 'id',
  });
  await expect(records.read('some')).rejects.toThrow('undefined is not a key');
  expect(tries).toBe(1);
});

import { NbdPing } from '../engine/ping.ts';
import type { Log } from '../node/context.ts';

/** Longer than peers wait before they evict: a server that is only slow is left to them. */
const hungAfterMs = 5_000;

/**
 * Watches this node's own replica server as its peers see it and ends it when it is frozen; its
 * supervision then starts another, so that the node can take part again.
 */
export function watchOwnReplicaServer(
  server: { address: string; port: number; pid: () => number | undefined },
  log: Log,
): { stop(): void } {
  const ping = new NbdPing({
    address: server.address,
    port: server.port,
    timeoutMs: hungAfterMs,
    onChange: (status) => {
      const pid = server.pid();
      if (status.state === 'alive' || status.reason !== 'timeout' || pid === undefined) return;
      log.error({ pid }, 'the replica server of this node does not answer; it is restarted');
      process.kill(pid, 'SIGKILL');
    },
  });
  return { stop: () => ping.close() };
}

import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { identify, isGone, type ProcessIdentity } from '../engine/process.ts';
import type { Log } from '../node/context.ts';
import type { Store } from '../store/store.ts';
import { bootClock } from '../watchdog/boot-clock.ts';
import { writeLeaseConfirmed } from '../watchdog/lease-file.ts';

const program = fileURLToPath(new URL('../watchdog/main.ts', import.meta.url));
const lookEveryMs = 250;

/**
 * Starts this node's watchdog, or adopts the one that runs, keeps it alive while this daemon lives,
 * and tells it when the store confirms the node's lease, if nothing serves here that the records do
 * not have as the newest (rule 14). It outlives the daemon.
 */
export function keepWatchdog(
  options: { runDirectory: string; logDirectory: string; log: Log },
  store: Store,
  headsAreNewest: () => boolean,
): { stop(): void } {
  const { runDirectory, logDirectory, log } = options;
  const file = join(runDirectory, 'watchdog.json');
  let current = read(file);
  let told = 0;
  const look = () => {
    if (current === null || isGone(current)) {
      const out = openSync(join(logDirectory, 'watchdog.log'), 'a');
      const child = spawn(process.execPath, [program, runDirectory], {
        detached: true,
        stdio: ['ignore', out, out],
      });
      closeSync(out);
      child.on('error', (error) => log.error({ error: error.message }, 'no watchdog'));
      child.unref();
      current = child.pid === undefined ? null : (identify(child.pid) ?? null);
      if (current !== null) writeFileSync(file, JSON.stringify(current));
    }
    // A lease that was taken again says nothing of a head that was superseded while it was gone.
    const confirmed = store.leaseConfirmedAt();
    if (confirmed > told && headsAreNewest()) {
      told = confirmed;
      writeLeaseConfirmed(runDirectory, Math.floor(bootClock() - (performance.now() - confirmed)));
    }
  };
  look();
  const timer = setInterval(() => {
    try {
      look();
    } catch (error) {
      log.error({ error: String(error) }, 'the watchdog cannot be kept');
    }
  }, lookEveryMs);
  return { stop: () => clearInterval(timer) };
}

function read(file: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}

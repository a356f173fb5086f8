/**
 * The watchdog of a node: a small process beside `hyperscaled` that ends heads which may have been
 * superseded without knowing it. It decides alone, from files in the run directory and from what
 * members' replica servers say, so that it works while the daemon or the store is away.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import type { HeadSpec } from '../engine/engine.ts';
import { probeExport } from '../engine/nbd-client.ts';
import { isGone, type ProcessIdentity } from '../engine/process.ts';
import { bootClock } from './boot-clock.ts';
import { judge } from './freshness.ts';
import { readLeaseConfirmed } from './lease-file.ts';

const lookEveryMs = 200;
const askTimeoutMs = 800;

type Record = ProcessIdentity & { spec: HeadSpec };
/** `at`: see `Freshness.membersSeen`; `known`: see there too. */
type Seen = { at: number; asking: boolean; known: boolean };

const runDirectory = process.argv[2] ?? '';
const seen = new Map<string, Seen>();

function say(text: string): void {
  process.stdout.write(`${new Date().toISOString()} ${text}\n`);
}

function heads(): Map<string, Record> {
  const found = new Map<string, Record>();
  const directory = join(runDirectory, 'heads');
  for (const file of readdirSync(directory).filter((f) => f.endsWith('.json'))) {
    try {
      const record = JSON.parse(readFileSync(join(directory, file), 'utf8')) as Record;
      if (!isGone(record)) found.set(file, record);
    } catch {
      // Removed or replaced this moment; the next look sees what there is.
    }
  }
  return found;
}

/**
 * Asks all members at once; good only when every one still exports the layer for writing. A layer
 * that was fenced and sealed may be exported again, to be read by the next writer.
 */
async function ask(spec: HeadSpec, entry: Seen): Promise<void> {
  if (entry.asking) return;
  entry.asking = true;
  const begun = bootClock();
  try {
    const answers = await Promise.all(
      spec.open.peers.map((p) =>
        probeExport(p.address, p.port, spec.open.layer.layer, askTimeoutMs, true),
      ),
    );
    if (answers.every(Boolean)) entry.at = Math.max(entry.at, begun);
  } finally {
    entry.asking = false;
    entry.known = true;
  }
}

function look(): void {
  const now = bootClock();
  const leaseConfirmed = readLeaseConfirmed(runDirectory);
  const running = heads();
  for (const file of seen.keys()) if (!running.has(file)) seen.delete(file);
  for (const [file, record] of running) {
    const entry = seen.get(file) ?? { at: 0, asking: false, known: false };
    seen.set(file, entry);
    const { peers } = record.spec.open;
    const { at: membersSeen, known } = entry;
    switch (judge({ now, leaseConfirmed, membersSeen, peers: peers.length, known })) {
      case 'ask-members':
        ask(record.spec, entry).catch((error: unknown) => say(`asking failed: ${String(error)}`));
        break;
      case 'kill':
        say(
          `${file}: neither the store nor all of ${peers.map((p) => p.node).join(', ')} confirmed it in time; head ${record.pid} is killed`,
        );
        process.kill(record.pid, 'SIGKILL');
        break;
      case 'fine':
        entry.known = true;
        break;
    }
  }
}

/** When a host goes on that stood still, this process must look before guests are served again. */
function hurry(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST);
  } catch (error) {
    say(`runs at the usual priority: ${String(error)}`);
  }
}

say(`watching ${runDirectory}`);
hurry();
setInterval(() => {
  try {
    look();
  } catch (error) {
    say(`cannot look: ${String(error)}`);
  }
}, lookEveryMs);

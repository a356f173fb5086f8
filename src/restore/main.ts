/**
 * The program that serves one backup as blocks, as long as its standard input is open. It is apart
 * from the daemon, because whoever reads from a file server that is gone may hang with all its threads.
 */
import { createInterface } from 'node:readline';
import { type SourceLine, type SourceRequest, saidError } from './lines.ts';
import { NbdServer } from './nbd-server.ts';
import { openBackup } from './open-backup.ts';

function say(line: SourceLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function serve(request: SourceRequest, end: Promise<void>): Promise<void> {
  const { blocks, close, entry } = await openBackup(request);
  try {
    const onError = (error: unknown) => say({ kind: 'failed', error: saidError(error) });
    const server = await NbdServer.listen({ path: request.socket }, blocks, { onError });
    say({ kind: 'ready', entry, sizeBytes: blocks.sizeBytes });
    await end;
    await server.close();
  } finally {
    await close();
  }
}

// Nobody hears any more what it says.
process.stdout.on('error', () => process.exit(1));
// A signal of the terminal is the daemon's; it closes our input.
process.on('SIGINT', () => undefined);
const lines = createInterface({ input: process.stdin });
const end = new Promise<void>((resolve) => {
  lines.once('close', resolve);
  process.once('SIGTERM', resolve);
});
lines.once('line', (line) => {
  serve(JSON.parse(line) as SourceRequest, end)
    .catch((error: unknown) => {
      say({ kind: 'failed', error: saidError(error) });
      process.exitCode = 1;
    })
    // Connections of a target may be kept for a while; the input may be open still.
    .finally(() => process.stdout.write('', () => process.exit()));
});

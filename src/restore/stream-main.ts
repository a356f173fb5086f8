/**
 * The program that serves one backup to heads while it is copied. It outlives the daemon, as they do.
 * SIGUSR2: the copy is there, and it ends when nobody is connected any more; SIGTERM: it ends now.
 * With `clear` it clears up after one that was killed and that nobody needs any more.
 */
import { dirname } from 'node:path';
import { openBackupTarget } from '../daemon/backup-targets.ts';
import { identify } from '../engine/process.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { saidError } from './lines.ts';
import { NbdServer } from './nbd-server.ts';
import { openBackup } from './open-backup.ts';
import { PatientSource } from './patient-source.ts';
import { StreamFiles, type StreamRequest, type StreamState } from './stream-files.ts';

const lookMs = 1_000;
/** A head that lost its connection is back by then. */
const unusedLooks = 10;

const [directory = '', layer = '', task = 'serve'] = process.argv.slice(2);
const files = new StreamFiles(directory, layer);
const self = identify(process.pid) ?? { pid: process.pid, startTime: '' };
const ended = Promise.withResolvers<void>();
let state: StreamState = { process: self, serves: null, pin: null, problem: null };
let unwanted = false;

function tell(change: Partial<StreamState>): void {
  state = { ...state, ...change };
  files.write(state);
}

/** Another one was started in place of this one, whose starter did not live to know it. */
function isReplaced(): boolean {
  const now = files.read()?.process;
  return now !== undefined && (now.pid !== self.pid || now.startTime !== self.startTime);
}

/** What was lost stays lost; a target may come back. */
function note(error: unknown): void {
  if (isHyperscaleError(error, 'cancelled')) return;
  if (error === null) {
    if (state.problem !== null && state.problem.code !== 'damaged') tell({ problem: null });
  } else if (state.problem?.code !== 'damaged') {
    tell({ problem: saidError(error) });
  }
}

async function listen(request: StreamRequest, blocks: PatientSource): Promise<NbdServer> {
  const [first, last] = request.ports;
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const wanted = request.port === null ? [] : [request.port];
  for (const port of [...wanted, ...all]) {
    const place = { host: request.address, port };
    const options = { onError: note, name: request.layer };
    const server = await NbdServer.listen(place, blocks, options).catch(() => null);
    if (server !== null) return server;
  }
  throw new HyperscaleError('unavailable', `no port from ${first} to ${last} is free`, {
    hint: 'Widen ports.gateways in the configuration of this node.',
  });
}

async function serve(request: StreamRequest): Promise<void> {
  const { blocks, close, entry, giveUp, pin } = await openBackup(request);
  tell({ pin });
  try {
    const look = async () => (await openBackupTarget(request.settings)).close();
    const patient = new PatientSource(blocks, { onTrouble: note, look });
    const local = await NbdServer.listen({ path: files.socket }, patient, { onError: note });
    const heads = await listen(request, patient);
    const { sizeBytes } = blocks;
    tell({ serves: { entry, sizeBytes, port: heads.port ?? 0 }, problem: null });
    // Its own pin protects it by now. What cannot be given up goes when it is old.
    for (const old of request.stale) await giveUp(old).catch(() => undefined);
    let unused = 0;
    const timer = setInterval(() => {
      unused = unwanted && heads.connections === 0 ? unused + 1 : 0;
      if (unused >= unusedLooks || isReplaced()) ended.resolve();
    }, lookMs);
    await ended.promise;
    clearInterval(timer);
    await Promise.all([local.close(), heads.close()]);
  } finally {
    await close();
  }
}

/** Gives up what it protected, and removes its files; when the target is away the next daemon tries. */
async function clear(): Promise<void> {
  const stale = files.stale();
  const repository = await openBackupTarget(files.readRequest().settings);
  for (const { volume, session } of stale) await repository.discard(volume, session);
  repository.close();
  files.remove();
}

process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);
process.on('SIGTERM', () => ended.resolve());
process.on('SIGUSR2', () => {
  unwanted = true;
});
process.chdir(dirname(files.request));
if (task === 'clear') {
  clear()
    .catch((error: unknown) => {
      console.error(`${layer} is not cleared up: ${errorText(error)}`);
      process.exitCode = 1;
    })
    .finally(() => process.exit());
} else {
  tell({});
  serve(files.readRequest())
    .then(() => {
      if (!isReplaced()) files.remove();
    })
    .catch((error: unknown) => {
      tell({ serves: null, problem: saidError(error) });
      process.exitCode = 1;
    })
    .finally(() => process.exit());
}

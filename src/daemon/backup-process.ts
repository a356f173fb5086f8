/**
 * A process that works on one backup target for the daemon, which it ends with. Its channel carries
 * `{ settings }` once, then `{ call, name, args }` and `{ cancel }`; it answers `{ call, result }`,
 * `{ call, error }` and `{ call, progress }`.
 */
import type { CallName, CallProgress, Calls } from '../backup/calls.ts';
import { describe, discard, prune, write } from '../backup/perform.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { TargetSettings } from './backup-config.ts';
import { BackupTargets } from './backup-targets.ts';

type Message =
  | { settings: { name: string; target: TargetSettings } }
  | { call: number; name: CallName; args: unknown }
  | { cancel: number };

/** Between two words about the progress of a call, ms. */
const tellEveryMs = 200;

const running = new Map<number, AbortController>();
let targets: BackupTargets | undefined;
let target = '';

process.on('disconnect', () => process.exit(0));
process.on('message', (message: Message) => {
  if ('settings' in message) {
    target = message.settings.name;
    targets = new BackupTargets({ [target]: message.settings.target });
  } else if ('cancel' in message) {
    running.get(message.cancel)?.abort();
  } else {
    answer(message.call, message.name, message.args).catch((error: unknown) => {
      process.stderr.write(`${errorText(error)}\n`);
      process.exit(1);
    });
  }
});

async function answer(call: number, name: CallName, args: unknown): Promise<void> {
  const stop = new AbortController();
  running.set(call, stop);
  let toldAt = Number.NEGATIVE_INFINITY;
  const progress = (told: CallProgress) => {
    const now = performance.now();
    if (now - toldAt < tellEveryMs) return;
    toldAt = now;
    process.send?.({ call, progress: told });
  };
  try {
    const result = await perform[name](args as never, stop.signal, progress);
    process.send?.({ call, result });
  } catch (error) {
    process.send?.({ call, error: plain(error) });
  } finally {
    running.delete(call);
  }
}

type Performers = {
  [Name in CallName]: (
    args: Calls[Name]['args'],
    signal: AbortSignal,
    progress: (progress: CallProgress) => void,
  ) => Promise<Calls[Name]['result']>;
};

const perform: Performers = {
  describe: async () => describe(await repository()),
  create: async (args) => describe(await here().create(target, args)),
  list: async (args, signal) => (await repository()).list({ ...args, signal }),
  volumes: async (_, signal) => (await repository()).volumes(signal),
  show: async ({ volume, id }) => (await repository()).show(volume, id),
  remove: async ({ volume, ids }) => (await repository()).remove(volume, ids),
  discard: async (args) => discard(await repository(), args),
  prune: async (args) => prune(await repository(), args, Date.now()),
  sweep: async ({ volume }, signal) => (await repository()).sweep(volume, { signal }),
  verify: async ({ volume, ids, mode }, signal, progress) =>
    (await repository()).verify(volume, ids, {
      ...{ mode, signal },
      progress: ({ bytes }) => progress({ doneBytes: bytes, totalBytes: null }),
    }),
  write: async (args, signal, progress) => write(await repository(), args, signal, progress),
};

function here(): BackupTargets {
  if (targets === undefined) throw new HyperscaleError('internal', 'no target was set');
  return targets;
}

async function repository() {
  const opened = await here().open(target);
  await opened.check();
  return opened;
}

function plain(error: unknown) {
  if (!(error instanceof HyperscaleError)) return { code: 'internal', message: errorText(error) };
  const { code, hint, message, values } = error;
  return { code, message, hint, values };
}

import { run } from './program.ts';

/** After Ctrl-C, how long whoever reads the output may take for what is left of it. */
const lastWordsMs = 1_000;

const cancel = new AbortController();
let over = false;
process.on('SIGINT', () => {
  // When all is done, only a reader that stands still is waited for.
  if (over || cancel.signal.aborted) {
    process.exit(130);
  }
  cancel.abort();
});
// `hscli … | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A command that writes content there has to clean up.
  if (process.stdout.listenerCount('error') > 1) return;
  process.exit(error.code === 'EPIPE' ? (process.exitCode ?? 0) : 1);
});

process.exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: cancel.signal,
});
over = true;
if (cancel.signal.aborted) setTimeout(() => process.exit(), lastWordsMs).unref();

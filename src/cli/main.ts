import { run } from './program.ts';

const cancel = new AbortController();
process.on('SIGINT', () => {
  if (cancel.signal.aborted) {
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

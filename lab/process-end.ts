/**
 * Things to be undone when this process ends, however it ends (except by SIGKILL, after which
 * `lab/sweep.ts` does it).
 */
const pending = new Set<() => void>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
let listening = false;

function runAll(): void {
  for (const undo of pending) {
    pending.delete(undo);
    try {
      undo();
    } catch (error) {
      // The process is going anyway; the next thing must be undone all the same.
      console.error('lab: clean-up failed:', error);
    }
  }
}

function onSignal(name: NodeJS.Signals): void {
  runAll();
  // Die of the signal as if nobody had listened, unless somebody else (a test runner) does.
  if (process.listenerCount(name) === 1) {
    process.removeListener(name, onSignal);
    process.kill(process.pid, name);
  }
}

/**
 * Registers a synchronous clean-up for the end of this process: normal exit, uncaught exception
 * (Node emits `exit` then as well), SIGINT, SIGTERM, SIGHUP. Returns the function that
 * unregisters it.
 */
export function onProcessEnd(undo: () => void): () => void {
  if (!listening) {
    listening = true;
    process.on('exit', runAll);
    for (const name of signals) {
      process.on(name, onSignal);
    }
  }
  pending.add(undo);
  return () => pending.delete(undo);
}

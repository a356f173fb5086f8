/** A process that runs the histories it is asked for, one after another. */

import { Violation } from './core.ts';
import { type LengthName, runHistory } from './history.ts';

// Where an error was made is told by the replay; here it only costs time.
Error.stackTraceLimit = 0;

process.on('unhandledRejection', (error) => {
  if (error instanceof Violation) return;
  new Violation(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`);
});

process.on('message', (message) => {
  const { from, count, length } = message as { from: number; count: number; length: LengthName };
  const all = async () => {
    for (let seed = from; seed < from + count; seed += 1)
      process.send?.(await runHistory(seed, { length }));
    process.send?.('done');
  };
  all().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit());

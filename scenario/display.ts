/** What the demo shows while it runs: live on a terminal, plain lines elsewhere. */
import { Listr, PRESET_TIMER } from 'listr2';
import { errorText } from '../src/errors.ts';

/** How often a line of live progress is renewed, in milliseconds. */
const refreshMs = 200;
/** On a plain display, where every line stays, at most one in this time, in milliseconds. */
const plainEveryMs = 5_000;

/** The line of one step. */
export type Line = {
  /** What is happening now. */
  now(text: string): void;
  /** What came out; it stays on the screen. */
  outcome(text: string): void;
};

export type Display = {
  heading(text: string): void;
  /** Shows `work` as one step until it ends; its failure is shown and passed on. */
  step<T>(title: string, work: (line: Line) => Promise<T>): Promise<T>;
};

/** Renews the line's `now` from `text` until `work` ends. */
export async function during<T>(line: Line, text: () => string, work: Promise<T>): Promise<T> {
  line.now(text());
  const timer = setInterval(() => line.now(text()), refreshMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/** The display for a terminal. */
function liveDisplay(): Display {
  return {
    heading: (text) => console.log(`\n\u001b[1m${text}\u001b[0m`),
    step: async <T>(title: string, work: (line: Line) => Promise<T>): Promise<T> => {
      const result = Promise.withResolvers<T>();
      // Its failure is also the task's, which is awaited first.
      result.promise.catch(() => undefined);
      const task = {
        title,
        task: async (_context: unknown, shown: { title: string; output: string }) => {
          const line: Line = {
            now: (text) => {
              shown.output = text;
            },
            outcome: (text) => {
              shown.title = `${title}: ${text}`;
            },
          };
          const done = work(line);
          done.then(result.resolve, result.reject);
          await done;
        },
      };
      await new Listr([task], {
        // The demo ends by its own handler of signals, which cleans up.
        registerSignalListeners: false,
        rendererOptions: { timer: PRESET_TIMER, formatOutput: 'truncate' },
      }).run();
      return result.promise;
    },
  };
}

/** The display for a pipe, a file or a log. With `every`, no progress is left out. */
function plainDisplay(every: boolean): Display {
  const began = performance.now();
  const print = (text: string): void => {
    const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(6);
    console.log(`${seconds} s  ${text}`);
  };
  return {
    heading: (text) => print(`== ${text}`),
    step: async (title, work) => {
      print(`   ${title} ...`);
      const from = performance.now();
      let shownAt = from;
      let outcome = '';
      const now = (text: string): void => {
        if (every || performance.now() - shownAt > plainEveryMs) {
          shownAt = performance.now();
          print(`     ${text}`);
        }
      };
      const took = (): string => `[${((performance.now() - from) / 1000).toFixed(1)} s]`;
      try {
        const value = await work({
          now: every ? onlyChanges(now) : now,
          outcome: (text) => {
            outcome = `: ${text}`;
          },
        });
        print(`   ok: ${title}${outcome} ${took()}`);
        return value;
      } catch (error) {
        print(`   FAILED: ${title}: ${errorText(error)} ${took()}`);
        throw error;
      }
    },
  };
}

/** Drops what differs from the last text only in its numbers: those run all the time. */
function onlyChanges(show: (text: string) => void): (text: string) => void {
  let last = '';
  return (text) => {
    const words = text.replaceAll(/\d+(\.\d+)?/g, '#');
    if (words !== last) show(text);
    last = words;
  };
}

export function createDisplay(options: { verbose: boolean }): Display {
  return process.stdout.isTTY && !options.verbose ? liveDisplay() : plainDisplay(options.verbose);
}

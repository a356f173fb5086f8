import { parseArgs } from 'node:util';
import { HyperscaleError } from '../src/errors.ts';

export type BenchOptions = {
  /** Times that every cell of the table is measured. */
  rounds: number;
  /** Length of one measurement. */
  seconds: number;
  /** Repetitions of every control-plane operation. */
  operations: number;
  /** Bytes of the volumes and files that are written in full before they are measured. */
  filledBytes: number;
  /** Bytes of those whose first writes are measured. */
  freshBytes: number;
  /** Measure with the policies' IOPS limits instead of lifting them. */
  keepLimits: boolean;
  /** Which parts to run. */
  parts: { data: boolean; control: boolean };
  /** Below it pools and raw files are made; default: the system's temporary directory. */
  directory: string | undefined;
  /** Where the report goes as JSON. */
  json: string | undefined;
};

export const usage = `npm run bench -- [OPTIONS]   (as root)

  --quick            one round of 1 s and 10 control-plane operations: under 3 minutes
  --rounds N         times every cell is measured, interleaved (default 3)
  --seconds N        length of one measurement, whole seconds (default 2)
  --operations N     repetitions of every control-plane operation (default 30)
  --size-mib N       size of the filled volumes and files (default 512)
  --keep-limits      keep the policies' IOPS limits (they are lifted otherwise)
  --only data|control
  --directory DIR    where pools and raw files are made: the disk to measure (default: /tmp)
  --json FILE        write the report as JSON, every single measurement included
  --help`;

const mib = 1 << 20;

/** Reads the command line. @returns undefined for `--help`. @throws `bad-input`. */
export function parseOptions(args: string[]): BenchOptions | undefined {
  const { values } = parse(args);
  if (values.help === true) return undefined;
  const quick = values.quick === true;
  const { only } = values;
  if (only !== undefined && only !== 'data' && only !== 'control') {
    throw new HyperscaleError('bad-input', `--only takes data or control, not '${only}'`);
  }
  return {
    rounds: whole('rounds', values.rounds, quick ? 1 : 3),
    seconds: whole('seconds', values.seconds, quick ? 1 : 2),
    operations: whole('operations', values.operations, quick ? 10 : 30),
    filledBytes: whole('size-mib', values['size-mib'], 512) * mib,
    freshBytes: 8192 * mib,
    keepLimits: values['keep-limits'] === true,
    parts: { data: only !== 'control', control: only !== 'data' },
    directory: values.directory,
    json: values.json,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        quick: { type: 'boolean' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        operations: { type: 'string' },
        'size-mib': { type: 'string' },
        'keep-limits': { type: 'boolean' },
        only: { type: 'string' },
        directory: { type: 'string' },
        json: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new HyperscaleError('bad-input', text, { hint: 'See npm run bench -- --help' });
  }
}

function whole(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw new HyperscaleError('bad-input', `--${name} takes a whole number, not '${text}'`);
  }
  return Number(text);
}

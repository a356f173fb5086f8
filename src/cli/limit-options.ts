import type { Command } from 'commander';
import type { LimitsRequest } from '../api/qos-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { parseSize } from './size.ts';

/** Options of commands that set limits, as they were typed. */
export type LimitOptions = {
  maxIops?: string;
  maxBandwidth?: string;
  burstIops?: string;
  burstBandwidth?: string;
  burstSeconds?: string;
  minIops?: string;
};

export function limitOptions(command: Command): Command {
  return command
    .option('--max-iops <n>', 'requests a second, or none')
    .option('--max-bandwidth <size>', 'bytes a second: 200M is 200 MiB; or none')
    .option('--burst-iops <n>', 'requests a second for a while, or none')
    .option('--burst-bandwidth <size>', 'bytes a second for a while, or none')
    .option('--burst-seconds <n>', 'how long a burst may last (1)')
    .option('--min-iops <n>', 'refused: no minimum can be promised');
}

/** What they ask for. @throws `bad-input` that quotes what is no number */
export function givenLimits(options: LimitOptions): LimitsRequest {
  const { maxIops, maxBandwidth, burstIops, burstBandwidth, burstSeconds, minIops } = options;
  return {
    ...(maxIops === undefined ? {} : { maxIops: count('--max-iops', maxIops) }),
    ...(maxBandwidth === undefined ? {} : { maxBandwidth: bytes(maxBandwidth) }),
    ...(burstIops === undefined ? {} : { burstIops: count('--burst-iops', burstIops) }),
    ...(burstBandwidth === undefined ? {} : { burstBandwidth: bytes(burstBandwidth) }),
    ...(burstSeconds === undefined ? {} : { burstSeconds: count('--burst-seconds', burstSeconds) }),
    ...(minIops === undefined ? {} : { minIops: number('--min-iops', minIops) }),
  };
}

const none = 'none';

function count(option: string, text: string): number | null {
  return text === none ? null : number(option, text);
}

function bytes(text: string): number | null {
  return text === none ? null : parseSize(text);
}

function number(option: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const shown = JSON.stringify(text.slice(0, 60));
  throw new HyperscaleError('bad-input', `${option} ${shown} is not a whole number`, {
    hint: 'Give a whole number, or none to take the limit away.',
  });
}

import { readFileSync } from 'node:fs';

/** Milliseconds since boot, including time asleep (/proc/uptime, proc(5)); 10 ms fine. */
export function bootClock(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000);
}

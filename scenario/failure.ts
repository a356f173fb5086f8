/** What is printed when a step fails: the last events, and what the nodes concerned logged. */
import type { NodeEvent } from '../src/api/service.ts';
import type { Scene } from './scene.ts';

/** Of those that say more than that a record changed. */
const lastEvents = 25;
const lastLogLines = 15;
const longestLine = 300;

export function eventLine(event: NodeEvent): string {
  return `${event.at.slice(11, 23)} ${event.node} ${event.type}: ${event.text}`;
}

/** A line of a daemon's log without its fixed fields; as it is when it is not JSON. */
function logLine(line: string): string {
  try {
    const { time, msg, level, pid, hostname, node, name, ...rest } = JSON.parse(line) as Record<
      string,
      unknown
    >;
    const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
    const at = typeof time === 'number' ? new Date(time).toISOString() : String(time);
    return `${at.slice(11, 23)} [${String(level)}] ${String(msg)}${more}`.slice(0, longestLine);
  } catch {
    return line.slice(0, longestLine);
  }
}

export function describeFailure(scene: Scene): string {
  const events = scene.events.all
    .filter((event) => event.type !== 'volume.record')
    .sort((a, b) => a.at.localeCompare(b.at));
  const logs = scene.concerned.flatMap((name) => {
    const lines = scene.cluster.node(name).logTail(lastLogLines).split('\n');
    return ['', `Log of ${name}, the last lines:`, ...lines.map((line) => `  ${logLine(line)}`)];
  });
  const shown = events.slice(-lastEvents).map((event) => `  ${eventLine(event)}`);
  return ['The last events of all nodes:', ...shown, ...logs].join('\n');
}

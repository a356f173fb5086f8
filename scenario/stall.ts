import type { NodeEvent } from '../src/api/service.ts';
import { type EventRecorder, momentOf } from './events.ts';
import type { Guest } from './guest/guest.ts';
import type { Report, Stall } from './report.ts';
import { seconds } from './report-text.ts';

/** At most this much of a stall may be left once the system has noticed the fault. */
const afterDetectionTarget = 0.5;
/** Events by which a node says that it has noticed. */
const detections = ['peer.failed', 'member.failed', 'head.died'];

/** The longest pause between two records since `sinceMs`, and when it was. */
function longestPause(guest: Guest, sinceMs: number): { fromMs: number; toMs: number } {
  const { records } = guest;
  const end = { hostTimeMs: performance.now() };
  return records.reduce(
    (longest, { hostTimeMs }, index) => {
      const toMs = (records[index + 1] ?? end).hostTimeMs;
      const longer = toMs - hostTimeMs > longest.toMs - longest.fromMs;
      return toMs >= sinceMs && longer ? { fromMs: hostTimeMs, toMs } : longest;
    },
    { fromMs: sinceMs, toMs: sinceMs },
  );
}

/** When the system noticed the fault of `sinceMs`; undefined when no event tells. */
function detectedAt(events: readonly NodeEvent[]): number | undefined {
  const moments = events.filter((event) => detections.includes(event.type)).map(momentOf);
  return moments.length === 0 ? undefined : Math.min(...moments);
}

/**
 * Measures and checks what a fault at `sinceMs` cost the guest up to now.
 * @param targetSeconds what is promised, or null
 */
export function noteStall(
  scene: { report: Report; events: EventRecorder },
  guest: Guest,
  fault: string,
  sinceMs: number,
  targetSeconds: number | null,
): Stall {
  const { report, events } = scene;
  const { fromMs, toMs } = longestPause(guest, sinceMs);
  const detected = detectedAt(events.since(sinceMs));
  const afterDetectionSeconds =
    detected === undefined ? null : Math.max(0, toMs - Math.max(detected, fromMs)) / 1000;
  const stall = { fault, seconds: (toMs - fromMs) / 1000, targetSeconds, afterDetectionSeconds };
  report.figures.stalls.push(stall);
  if (targetSeconds !== null) {
    const held = stall.seconds <= targetSeconds;
    const detail = `${seconds(stall.seconds)} of at most ${targetSeconds} s`;
    report.check(`${fault}: the guest stalls briefly`, held, detail);
    const after = afterDetectionSeconds;
    const text = after === null ? 'no event tells of the fault' : seconds(after);
    report.check(
      `${fault}: it goes on soon after detection`,
      after !== null && after <= afterDetectionTarget,
      `${text} of at most ${afterDetectionTarget} s`,
    );
  }
  checkGuest(report, guest, fault);
  return stall;
}

/** Checks that the guest runs and has seen no I/O error. */
function checkGuest(report: Report, guest: Guest, fault: string): void {
  const troubles = [...guest.ioErrors, ...guest.stopTimesMs.map(() => 'QEMU stopped the guest')];
  if (!guest.running) troubles.push('the guest ended');
  const records = guest.records.length;
  const detail = troubles.length === 0 ? `${records} records so far` : troubles.join('; ');
  report.check(`${fault}: no I/O error in the guest`, troubles.length === 0, detail);
}

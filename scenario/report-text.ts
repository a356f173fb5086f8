/** The report for people. */
import type { Check, Figures, ReportDocument, Stall } from './report.ts';

const columnWidth = 46;

export function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

/** Bytes in the unit that leaves one to four digits. */
export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit]}`;
}

function row(name: string, value: string): string {
  return `  ${name.padEnd(columnWidth)} ${value}`;
}

function stallRow(stall: Stall): string {
  const target = stall.targetSeconds === null ? '' : `, target at most ${stall.targetSeconds} s`;
  const after = stall.afterDetectionSeconds;
  const detected = after === null ? '' : `, ${seconds(after)} of it after detection`;
  return row(`stall: ${stall.fault}`, `${seconds(stall.seconds)}${target}${detected}`);
}

function figureRows(figures: Figures): string[] {
  const { records, takeOver, mended, copies, speed } = figures;
  const rows = figures.stalls.map(stallRow);
  if (takeOver !== null) {
    const { from, to, secondsUntilAttached } = takeOver;
    const text = `${seconds(secondsUntilAttached)} until attached on ${to}`;
    rows.push(row(`take-over: power of ${from} cut`, text));
  }
  if (records !== null) {
    const pause = seconds(records.longestPauseUndisturbed);
    rows.push(
      row('records reported by the guest', `${records.reported}`),
      row('records read back intact', `${records.verified}, ${records.lost} lost`),
      row(
        'rate of records before the faults',
        `${records.perSecond.toFixed(0)}/s, longest pause ${pause}`,
      ),
    );
  }
  if (mended !== null) {
    rows.push(
      row('copied to mend', `${bytes(mended.bytes)} for ${mended.copies} copies`),
      row('healthy again after the nodes came back', seconds(mended.secondsUntilHealthy)),
    );
  }
  if (copies !== null) {
    const { files, layers, allocatedBytes } = copies;
    const text = `${files} files of ${layers} layers with ${bytes(allocatedBytes)}`;
    rows.push(row('compared byte for byte', text));
  }
  if (speed !== null) {
    for (const run of speed.runs) {
      const text =
        `${run.iops.toFixed(0)} IOPS, ${run.megabytesPerSecond.toFixed(1)} MB/s, ` +
        `p99 ${run.p99Ms.toFixed(1)} ms`;
      rows.push(row(run.name, text));
    }
    rows.push(`  (${speed.what})`);
  }
  return rows;
}

function checkRow({ name, ok, detail }: Check): string {
  return `  ${ok ? '✔' : '✘ FAILED:'} ${name}: ${detail}`;
}

export function reportText(document: ReportDocument): string {
  const { checks, failure, machine } = document;
  const held = checks.filter((check) => check.ok).length;
  const verdict = document.ok
    ? 'Every check held.'
    : failure === null
      ? 'NOT every check held.'
      : `The demo did not reach its end: ${failure}`;
  return [
    'What happened',
    ...figureRows(document.figures),
    '',
    `Checks: ${held} of ${checks.length} held`,
    ...checks.map(checkRow),
    '',
    `${verdict} ${seconds(document.seconds)} on ${machine.cores} cores, QEMU ${machine.qemu}.`,
  ].join('\n');
}

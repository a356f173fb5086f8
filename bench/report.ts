/** The report as tables for people. */
import Table from 'cli-table3';
import type { Timing } from './control-plane.ts';
import { median, percentile } from './statistics.ts';
import { type CellSummary, expectedOfReads, expectedOfWrites, type RowSummary } from './summary.ts';
import type { Memory } from './usage.ts';

export type Report = {
  /** When and on what. */
  machine: Record<string, string>;
  options: Record<string, unknown>;
  dataPlane: RowSummary[];
  memory: { process: string; memory: Memory }[];
  controlPlane: Timing[];
};

const plain = { style: { head: [], border: [], compact: true } };

/** A table for a terminal; all columns but the first are numbers. */
export function table(head: string[], lines: string[][]): string {
  const made = new Table({ ...plain, head, colAligns: head.map((_, i) => (i ? 'right' : 'left')) });
  made.push(...lines);
  return `${made.toString()}\n`;
}

/** Milliseconds as a row of such a table: median, 99 % and longest. */
export function timesRow(title: string, all: number[]): string[] {
  const figures = [median(all), percentile(all, 0.99), Math.max(...all)];
  return [title, ...figures.map((ms) => ms.toFixed(1))];
}

export function reportText(report: Report): string {
  const parts = [
    Object.entries(report.machine)
      .map(([name, value]) => `${name}: ${value}\n`)
      .join(''),
  ];
  if (report.dataPlane.length > 0) {
    parts.push(`Data plane\n${throughput(report.dataPlane)}`);
    parts.push(`Expected and missed\n${verdicts(report.dataPlane)}`);
    parts.push(`What writes cost, per request\n${costs(report.dataPlane)}`);
  }
  if (report.memory.length > 0) parts.push(`Memory\n${memory(report.memory)}`);
  if (report.controlPlane.length > 0) {
    parts.push(`Control plane\n${timings(report.controlPlane)}`);
  }
  return parts.join('\n');
}

const ratio = (value: number): string => value.toFixed(2);

function throughput(rows: RowSummary[]): string {
  const names = rows[0]?.cells.map((cell) => cell.target) ?? [];
  const lines = rows.map(({ row, unit, cells }) => [
    `${row} (${unit})`,
    ...cells.map((cell) => {
      const value = cell.value.toFixed(0);
      if (cell.verdict === null) return value;
      return `${value}  ${ratio(cell.toWriteBack)} ${ratio(cell.toWritethrough)}`;
    }),
  ]);
  return `${table(['', ...names], lines)}Behind a value: its ratio to raw write-back, to raw writethrough.\n`;
}

function verdicts(rows: RowSummary[]): string {
  const lines: string[] = [
    `reads: ${expectedOfReads} of raw; writes: ${expectedOfWrites} of raw writethrough ` +
      'divided by the number of copies, which share one disk here',
  ];
  for (const { row, unit, cells } of rows) {
    for (const { target, value, verdict } of cells) {
      if (verdict === null) continue;
      const { expected, met, limitHit } = verdict;
      if (!met) {
        const part = ratio(value / expected);
        const figures = `${value.toFixed(0)} ${unit}, expected ${expected.toFixed(0)}`;
        lines.push(`  missed: ${row}, ${target}: ${figures} (${part} of it)`);
      }
      if (limitHit !== null) {
        lines.push(`  at or beyond the policy's limit of ${limitHit} IOPS: ${row}, ${target}`);
      }
    }
  }
  if (lines.length === 1) lines.push('  everything was as expected');
  return `${lines.join('\n')}\n`;
}

function costs(rows: RowSummary[]): string {
  const lines = rows
    .filter(({ row }) => row.includes('write'))
    .flatMap(({ row, cells }) => cells.map((cell) => [row, cell.target, ...costOf(cell)]));
  const head = ['', 'target', 'p99 ms', 'CPU s/100k', 'disk flushes', 'disk writes', 'disk KiB'];
  return `${table(head, lines)}Disk figures are the whole machine's, divided by fio's requests.\n`;
}

function costOf({ p99Ms, cpuSecondsPer100k, disk }: CellSummary): string[] {
  const counted = disk === null ? ['-', '-', '-'] : [disk.flushes, disk.writes, disk.bytes / 1024];
  return [p99Ms, cpuSecondsPer100k, ...counted].map((value) =>
    typeof value === 'string' ? value : value.toFixed(value < 10 ? 2 : 0),
  );
}

function memory(list: Report['memory']): string {
  const mebibytes = (bytes: number): string => (bytes / (1 << 20)).toFixed(1);
  return table(
    ['', 'resident MiB', 'private MiB'],
    list.map(({ process, memory: { residentBytes, privateBytes } }) => [
      process,
      mebibytes(residentBytes),
      mebibytes(privateBytes),
    ]),
  );
}

function timings(list: Timing[]): string {
  return table(
    ['', 'count', 'p50 ms', 'p99 ms'],
    list.map(({ operation, count, p50Ms, p99Ms }) => [
      operation,
      String(count),
      p50Ms.toFixed(1),
      p99Ms.toFixed(1),
    ]),
  );
}

/** From single measurements to the figures of the report. */
import { kinds } from './data-plane.ts';
import type { Measurement } from './measure.ts';
import { inMegabytes, isWrite, type Row, rows } from './rows.ts';
import { median } from './statistics.ts';
import type { Kind } from './target.ts';

/** What is expected of a volume: this part of what raw could do. */
export const expectedOfReads = 0.95;
export const expectedOfWrites = 0.9;

export type CellSummary = {
  target: string;
  /** Median over the rounds, in the row's unit. */
  value: number;
  /** The lowest and the highest round. */
  range: [number, number];
  p99Ms: number;
  toWriteBack: number;
  toWritethrough: number;
  cpuSecondsPer100k: number;
  disk: { flushes: number; writes: number; bytes: number } | null;
  /** Null for raw columns. */
  verdict: Verdict | null;
};

export type Verdict = {
  /** The value that is expected, in the row's unit. */
  expected: number;
  met: boolean;
  /** The policy's limit, when the value is beyond or at it. */
  limitHit: number | null;
};

export type RowSummary = { row: string; unit: 'IOPS' | 'MB/s'; cells: CellSummary[] };

export function summarize(measurements: Measurement[], keptLimits: boolean): RowSummary[] {
  return rows.map((row) => {
    const values = (kind: Kind) => of(measurements, row, kind).map((m) => inUnit(row, m));
    const raw = kinds.filter((kind) => kind.kind === 'raw').map((kind) => median(values(kind)));
    const [writeBack = Number.NaN, writethrough = Number.NaN] = raw;
    // A read is the same through both raw exports, so both count.
    const rawRead = median(kinds.filter((kind) => kind.kind === 'raw').flatMap(values));
    const expected = (copies: number): number =>
      isWrite(row) ? (expectedOfWrites * writethrough) / copies : expectedOfReads * rawRead;
    const cells = kinds.map((kind): CellSummary => {
      const here = of(measurements, row, kind);
      const value = median(values(kind));
      const iops = median(here.map((m) => m.iops));
      return {
        target: kind.name,
        value,
        range: [Math.min(...values(kind)), Math.max(...values(kind))],
        p99Ms: median(here.map((m) => m.p99Ms)),
        toWriteBack: value / writeBack,
        toWritethrough: value / writethrough,
        cpuSecondsPer100k: median(here.map((m) => m.cpuSecondsPer100k)),
        disk: diskOf(here),
        verdict:
          kind.kind === 'raw'
            ? null
            : {
                expected: expected(kind.copies),
                met: value >= expected(kind.copies),
                limitHit: atLimit(iops, kind.maxIops, keptLimits) ? kind.maxIops : null,
              },
      };
    });
    return { row: row.name, unit: inMegabytes(row) ? 'MB/s' : 'IOPS', cells };
  });
}

function of(measurements: Measurement[], row: Row, kind: Kind): Measurement[] {
  return measurements.filter((m) => m.row === row.name && m.target === kind.name);
}

function inUnit(row: Row, measurement: Measurement): number {
  return inMegabytes(row) ? measurement.bytesPerSecond / 1e6 : measurement.iops;
}

function diskOf(here: Measurement[]): CellSummary['disk'] {
  const known = here.flatMap(({ disk }) => (disk === undefined ? [] : [disk]));
  if (known.length === 0) return null;
  return {
    flushes: median(known.map((disk) => disk.flushes)),
    writes: median(known.map((disk) => disk.writes)),
    bytes: median(known.map((disk) => disk.bytes)),
  };
}

/** With limits kept, what is within the throttle's accounting of the limit is at the limit. */
function atLimit(iops: number, maxIops: number, keptLimits: boolean): boolean {
  return iops >= maxIops * (keptLimits ? 0.95 : 1);
}

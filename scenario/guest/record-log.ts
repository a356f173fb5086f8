/** A record that the guest reported: its fsync had returned, and the host has read the line. */
export type GuestRecord = {
  n: number;
  checksum: number;
  /** When the host read the line, on the clock of `performance.now()`. */
  hostTimeMs: number;
  /** When the guest wrote the line, in centiseconds since its kernel started. */
  guestCentiseconds: number;
};

/** What a guest in `verify` mode read back from the disk. */
export type Verification =
  | { intact: true /** Of record 1, 2, ... */; checksums: readonly number[]; torn: boolean }
  | { intact: false; n: number; reason: string };

/** The record of a console line, or undefined when the line is something else. */
export function parseRecord(line: string, hostTimeMs: number): GuestRecord | undefined {
  const match = /^HS-RECORD (\d+) (\d+) (\d+)$/.exec(line);
  if (match === null) return undefined;
  return {
    n: Number(match[1]),
    checksum: Number(match[2]),
    guestCentiseconds: Number(match[3]),
    hostTimeMs,
  };
}

/** What the console of a guest in `verify` mode says; undefined until it has said its verdict. */
export function parseVerification(lines: readonly string[]): Verification | undefined {
  const checksums: number[] = [];
  let torn = false;
  for (const line of lines) {
    const [word, n, ...rest] = line.split(' ');
    if (word === 'HS-CORRUPT') return { intact: false, n: Number(n), reason: rest.join(' ') };
    if (word === 'HS-TORN') torn = true;
    if (word === 'HS-SUM') {
      if (Number(n) !== checksums.length + 1) {
        return { intact: false, n: Number(n), reason: 'its console line is out of order' };
      }
      checksums.push(...rest.map(Number));
    }
    if (word === 'HS-VERIFIED') {
      return Number(n) === checksums.length
        ? { intact: true, checksums, torn }
        : { intact: false, n: Number(n), reason: `only ${checksums.length} checksums were read` };
    }
  }
  return undefined;
}

/** The reported records that were not read back as they were reported. */
export function lostRecords(
  reported: readonly GuestRecord[],
  verification: Verification,
): GuestRecord[] {
  if (!verification.intact) return [...reported];
  return reported.filter((record) => verification.checksums[record.n - 1] !== record.checksum);
}

/**
 * The longest time in seconds without a record, of all gaps that touch the interval; times are on
 * the clock of `performance.now()`. The time since the last record counts up to `untilMs`.
 */
export function longestGap(
  records: readonly GuestRecord[],
  sinceMs: number,
  untilMs: number,
): number {
  let longest = 0;
  records.forEach((record, index) => {
    const end = records[index + 1]?.hostTimeMs ?? untilMs;
    if (end < sinceMs || record.hostTimeMs > untilMs) return;
    longest = Math.max(longest, end - record.hostTimeMs);
  });
  return longest / 1000;
}

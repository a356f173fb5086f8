/** The rows of the data-plane table: what fio does to a target. */

export type Row = {
  name: string;
  rw: 'read' | 'write' | 'randread' | 'randwrite';
  /** Bytes of one request. */
  bs: number;
  iodepth: number;
  /** The target was never written before (true), or written in full (false). */
  fresh: boolean;
};

const kib = 1024;
const mib = 1024 * kib;

export const rows: Row[] = [
  { name: '4k random read, depth 1', rw: 'randread', bs: 4 * kib, iodepth: 1, fresh: false },
  { name: '4k random read, depth 32', rw: 'randread', bs: 4 * kib, iodepth: 32, fresh: false },
  { name: '4k random write, depth 1', rw: 'randwrite', bs: 4 * kib, iodepth: 1, fresh: false },
  { name: '4k random write, depth 32', rw: 'randwrite', bs: 4 * kib, iodepth: 32, fresh: false },
  { name: '1M read, depth 4', rw: 'read', bs: mib, iodepth: 4, fresh: false },
  { name: '1M write, depth 4', rw: 'write', bs: mib, iodepth: 4, fresh: false },
  { name: '4k first write, depth 1', rw: 'randwrite', bs: 4 * kib, iodepth: 1, fresh: true },
  { name: '4k first write, depth 32', rw: 'randwrite', bs: 4 * kib, iodepth: 32, fresh: true },
  { name: '1M first write, depth 4', rw: 'write', bs: mib, iodepth: 4, fresh: true },
];

export function isWrite(row: Row): boolean {
  return row.rw === 'write' || row.rw === 'randwrite';
}

/** Rows of large requests are given in MB/s, others in IOPS. */
export function inMegabytes(row: Row): boolean {
  return row.bs >= mib;
}

import { HyperscaleError } from '../errors.ts';

/**
 * Limits that QEMU puts on a disk of one guest, under libvirt's names (`<iotune>`), which are also
 * those of Cinder's front-end QoS specs. Bytes, I/O operations and seconds; whole numbers, 0 is no
 * limit. Limits of the volume itself, for all its consumers together, are its policy's.
 */
export const qosNames = [
  ...['total_bytes_sec', 'read_bytes_sec', 'write_bytes_sec'],
  ...['total_iops_sec', 'read_iops_sec', 'write_iops_sec'],
  ...['total_bytes_sec_max', 'read_bytes_sec_max', 'write_bytes_sec_max'],
  ...['total_iops_sec_max', 'read_iops_sec_max', 'write_iops_sec_max'],
  'size_iops_sec',
  ...['total_bytes_sec_max_length', 'read_bytes_sec_max_length', 'write_bytes_sec_max_length'],
  ...['total_iops_sec_max_length', 'read_iops_sec_max_length', 'write_iops_sec_max_length'],
] as const;

export type DiskQos = Partial<Record<(typeof qosNames)[number], number>>;

/** QEMU's `THROTTLE_VALUE_MAX`. */
const maxLimit = 10 ** 15;

/**
 * Refuses what libvirt or QEMU would refuse, with the names of the limits that do not go together.
 * @throws `bad-input`
 */
export function checkQos(qos: DiskQos): DiskQos {
  const limits = new Map<string, number>(Object.entries(qos));
  for (const [name, value] of limits) {
    if (!(qosNames as readonly string[]).includes(name)) {
      throw refusal(`there is no limit ${JSON.stringify(name)}`, `Limits: ${qosNames.join(', ')}.`);
    }
    if (!Number.isSafeInteger(value) || value < 0 || value > maxLimit) {
      throw refusal(
        `${name} ${value} is not a limit`,
        `A limit is a whole number from 0 to ${maxLimit}.`,
      );
    }
  }
  for (const [name, value] of limits) {
    if (value !== 0) checkTogether(name, value, limits);
  }
  return qos;
}

function checkTogether(name: string, value: number, limits: Map<string, number>): void {
  const others = name.startsWith('total_') ? ['read_', 'write_'] : [];
  for (const other of others.map((prefix) => name.replace('total_', prefix))) {
    if ((limits.get(other) ?? 0) === 0) continue;
    throw refusal(`${name} and ${other} exclude each other`, 'Give the total, or read and write.');
  }
  const needed = name.endsWith('_max_length')
    ? name.slice(0, -'_length'.length)
    : name.slice(0, name.endsWith('_max') ? -'_max'.length : 0);
  if (needed === '') return;
  const base = limits.get(needed) ?? 0;
  if (base === 0) throw refusal(`${name} needs ${needed} as well`, `Give ${needed}.`);
  if (name.endsWith('_max') && value < base) {
    throw refusal(`${name} ${value} is below ${needed} ${base}`, 'A burst is more than the limit.');
  }
}

function refusal(message: string, hint: string): HyperscaleError {
  return new HyperscaleError('bad-input', message, { hint });
}

import { HyperscaleError } from '../errors.ts';

/** What the names of volumes and nodes look like; at most `nameMaxLength` characters. */
export const namePattern = '^[A-Za-z0-9][A-Za-z0-9._-]*$';
export const nameMaxLength = 63;

/** Volume sizes in bytes. The grain is the smallest block that every guest can use. */
export const sizeGrainBytes = 4096;
export const minSizeBytes = 2 ** 20;
export const maxSizeBytes = 64 * 2 ** 40;

const nameRule =
  'A name has 1 to 63 characters: letters, digits, ".", "_" and "-", the first a letter or digit.';
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** True for what could be the id of a volume. */
export function looksLikeUuid(text: string): boolean {
  return uuidPattern.test(text);
}

/**
 * Checks a name for a new volume.
 * @throws `bad-input` when it is empty, too long, has other characters, or looks like an id: a
 * volume can be addressed by either, so a name must never be taken for an id.
 */
export function checkVolumeName(name: string): void {
  checkName(name, 'volume');
}

/** As `checkVolumeName`, for names of other things that are addressed by name or id. */
export function checkName(name: string, of: 'volume' | 'snapshot'): void {
  if (name.length > nameMaxLength) {
    refuse('name', quote(name), `has ${name.length} characters`, nameRule);
  }
  if (!new RegExp(namePattern).test(name)) {
    refuse('name', quote(name), `is not a valid ${of} name`, nameRule);
  }
  if (looksLikeUuid(name)) {
    refuse(
      'name',
      quote(name),
      `looks like a ${of} id`,
      `Choose a name that is not a UUID; ${of}s are addressed by name or by id.`,
    );
  }
}

/**
 * Checks a size for a new volume, in bytes.
 * @throws `bad-input` when it is not whole, not between 1 MiB and 64 TiB, or not a multiple of
 * 4096; `values.nearest` is then the nearest valid size.
 */
export function checkVolumeSize(sizeBytes: number): void {
  const nearest = nearestValidSize(sizeBytes);
  const bounds = `A size is a multiple of ${sizeGrainBytes} from ${minSizeBytes} (1 MiB) to ${maxSizeBytes} (64 TiB).`;
  const hint = `${bounds} The nearest valid size is ${nearest}.`;
  const value = `${sizeBytes} bytes`;
  if (!Number.isInteger(sizeBytes)) {
    refuse('sizeBytes', value, 'is not a whole number', hint, { nearest });
  }
  if (sizeBytes < minSizeBytes) {
    refuse('sizeBytes', value, 'is too small for a volume', hint, { nearest });
  }
  if (sizeBytes > maxSizeBytes) {
    refuse('sizeBytes', value, 'is too big for a volume', hint, { nearest });
  }
  if (sizeBytes % sizeGrainBytes !== 0) {
    refuse('sizeBytes', value, `is not a multiple of ${sizeGrainBytes}`, hint, { nearest });
  }
}

/** The valid volume size nearest to `sizeBytes`; the bigger one of two. */
export function nearestValidSize(sizeBytes: number): number {
  if (!(sizeBytes > minSizeBytes)) {
    return minSizeBytes;
  }
  return Math.min(maxSizeBytes, Math.round(sizeBytes / sizeGrainBytes) * sizeGrainBytes);
}

function refuse(
  field: string,
  value: string,
  why: string,
  hint: string,
  values: Record<string, unknown> = {},
): never {
  throw new HyperscaleError('bad-input', `${field} ${value} ${why}`, {
    hint,
    values: { field, value, ...values },
  });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

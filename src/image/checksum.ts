import { HyperscaleError } from '../errors.ts';

/**
 * The hex digits of a checksum like `sha256:HEX`.
 * @throws `bad-input` when it is anything else
 */
export function sha256In(text: string): string {
  const found = /^sha256:([0-9a-f]{64})$/i.exec(text.trim())?.[1];
  if (found !== undefined) return found.toLowerCase();
  const shown = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
  throw new HyperscaleError('bad-input', `checksum ${shown} is not valid`, {
    hint: 'Give sha256: and 64 hex digits, as sha256sum prints them.',
  });
}

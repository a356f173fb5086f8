import { HyperscaleError } from '../errors.ts';

/**
 * Ends the import of a file that is not taken.
 * @throws `bad-input`
 */
export function refuseImage(reason: string, hint: string): never {
  throw new HyperscaleError('bad-input', `the image is refused: ${reason}`, { hint });
}

/** What to do about a file that lacks its end. */
export const copyAgain = 'Copy or download it again, and give its --checksum.';

import { hasCode } from '../engine/durable.ts';
import { errorText, HyperscaleError } from '../errors.ts';

/** What a failed system call on a file of a repository means. */
export function directoryError(error: unknown, path: string): unknown {
  if (error instanceof HyperscaleError) return error;
  const details = { values: { path }, cause: error };
  if (hasCode(error, 'ENOSPC', 'EDQUOT')) {
    return new HyperscaleError('no-space', `there is no space for ${path}`, {
      ...details,
      hint: 'Free space on the backup target, or keep fewer backups.',
    });
  }
  if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) {
    return new HyperscaleError('not-allowed', `${path} may not be used: ${errorText(error)}`, {
      ...details,
      hint: 'Give the daemon permission to read and write the backup directory.',
    });
  }
  // A link or a folder lies in place of a file, or the file system is broken.
  if (hasCode(error, 'ELOOP', 'EISDIR', 'EUCLEAN', 'EBADMSG')) {
    return new HyperscaleError('damaged', `${path} cannot be read: ${errorText(error)}`, details);
  }
  if (error instanceof Error && 'syscall' in error) {
    return new HyperscaleError('unavailable', `${path}: ${errorText(error)}`, details);
  }
  return error;
}

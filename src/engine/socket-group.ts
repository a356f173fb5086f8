import { chmodSync, chownSync, lstatSync } from 'node:fs';

/**
 * Who may use attachment sockets: their owner, which is root, and the members of one group if there
 * is one. To connect takes the right to write to a socket and to pass the directories above it.
 */

/**
 * Lets the group into the directory of the sockets, and nobody else but the owner; without a group
 * others may look at it, which lets them connect to nothing.
 * @param above the directory above, which is opened only as far as the group needs
 */
export function openDirectory(path: string, group: number | undefined, above: string): void {
  chownSync(path, lstatSync(path).uid, group ?? ownGroup());
  chmodSync(path, group === undefined ? 0o755 : 0o750);
  const { mode, uid } = lstatSync(above);
  if (group === undefined || (mode & 0o001) !== 0) return;
  chownSync(above, uid, group);
  chmodSync(above, (mode & 0o777) | 0o010);
}

/** Sets who may connect to a socket that is in use; in between only its owner may. */
export function openSocket(path: string, group: number | undefined): void {
  chmodSync(path, 0o600);
  chownSync(path, lstatSync(path).uid, group ?? ownGroup());
  if (group !== undefined) chmodSync(path, 0o660);
}

function ownGroup(): number {
  return process.getegid?.() ?? 0;
}

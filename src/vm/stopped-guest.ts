/**
 * When a guest that stopped at an I/O error may go on. Pure.
 *
 * QEMU keeps the request that failed (`error_policy='stop'`) and repeats it when the guest is
 * resumed, so a guest that is resumed too early only stops again.
 */

/** The first pause before a resume: time for the volume to put the failing member out. */
export const firstPauseMs = 300;
/** Pauses double up to this; a guest is resumed for as long as it stops. */
export const longestPauseMs = 10_000;
/** A guest that ran so long after a resume goes on; its next error is another one. */
export const goesOnAfterMs = 2_000;

/** How long to wait before resume number `attempt`, from 0. */
export function pauseBefore(attempt: number): number {
  return Math.min(firstPauseMs * 2 ** Math.min(attempt, 20), longestPauseMs);
}

/**
 * Whether `virsh domstate --reason` is that of a guest that QEMU stopped at an error, and that nobody
 * paused. libvirt (11.3) says `unknown` of one that stops again right after a resume; then it is one
 * whose disks have an error.
 */
export function stoppedByError(domstate: string, hasDiskErrors: boolean): boolean {
  const state = domstate.trim();
  return state === 'paused (I/O error)' || (state === 'paused (unknown)' && hasDiskErrors);
}

/**
 * The disks that `virsh domblkerror` names, with what it calls their error: `vda: no space`. None
 * when it knows of none.
 */
export function failedDisks(domblkerror: string): { target: string; error: string }[] {
  return domblkerror.split('\n').flatMap((line) => {
    const [, target, error] = /^(\S+): (.+)$/.exec(line.trim()) ?? [];
    return target === undefined || error === undefined ? [] : [{ target, error }];
  });
}

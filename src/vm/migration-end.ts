/** How a live migration ended. Pure: the truth is where libvirt says that the domain runs. */

/** What the libvirt of a node says of a domain. */
export type Presence =
  | 'absent'
  /** Defined and shut off. */
  | 'defined'
  /** Started to receive a guest that still runs elsewhere. */
  | 'incoming'
  /** It runs here, and libvirt is sending it elsewhere. */
  | 'outgoing'
  /** It runs here, or is paused here. */
  | 'active';

/** `unknown`: the node does not answer; `down`: its lease is gone as well. */
export type FarPresence = Presence | 'unknown' | 'down';

/** `wait`: nobody knows yet. */
export type MigrationEnd = 'wait' | 'stayed' | 'moved';

/**
 * @param here at the source, @param there at the destination. libvirt removes the domain at the
 * source only after the destination has let it run.
 */
export function migrationEnd(here: FarPresence, there: FarPresence): MigrationEnd {
  if (there === 'active') return 'moved';
  if (here === 'outgoing') return 'wait';
  if (here === 'active') return 'stayed';
  if (there === 'unknown' || there === 'incoming') return 'wait';
  // The source is gone with its host: what it was sending was not complete.
  if (here === 'unknown') return 'wait';
  if (here === 'down') return there === 'defined' ? 'moved' : 'stayed';
  // It does not run here. With its definition it was shut off here; without, it has left.
  if (here === 'absent' && (there === 'defined' || there === 'down')) return 'moved';
  return 'stayed';
}

import { errorText, HyperscaleError } from '../errors.ts';

/** Where the daemon listens unless it was told otherwise. */
export const defaultSocket = '/run/hyperscale/api.sock';

/** Why the daemon could not be asked over its Unix socket, and what to do about it. */
export function socketError(error: unknown, socket: string): HyperscaleError {
  if (error instanceof HyperscaleError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const start =
    'Start the daemon with `systemctl start hyperscaled` or `hyperscaled --config FILE`';
  const values = { socket };
  switch (code) {
    case 'ENOENT':
      return new HyperscaleError('unavailable', `hyperscaled is not running: no socket ${socket}`, {
        hint: `${start}, or name its socket with --socket or HYPERSCALE_SOCKET.`,
        values,
      });
    case 'ECONNREFUSED':
      return new HyperscaleError(
        'unavailable',
        `hyperscaled is not running: nothing answers on ${socket}`,
        { hint: `${start}; its log says why it ended.`, values },
      );
    case 'EACCES':
    case 'EPERM':
      return new HyperscaleError('unauthorized', `you may not use ${socket}`, {
        hint: `It takes the right to read and write that socket, which only the user of hyperscaled has (root), and you are user ${process.getuid?.()}: run hscli as root.`,
        values,
      });
    default:
      return new HyperscaleError(
        'unavailable',
        `no answer from hyperscaled on ${socket}: ${errorText(error)}`,
        { hint: "The daemon's log may tell more.", values, cause: error },
      );
  }
}

import { connect } from 'node:net';

/** True when a program accepts connections on a Unix socket: the file is there a moment sooner. */
export async function listensOn(socketPath: string): Promise<boolean> {
  const socket = connect(socketPath);
  const answered = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  return answered.finally(() => socket.destroy());
}

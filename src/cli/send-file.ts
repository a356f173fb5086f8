import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Readable } from 'node:stream';
import { fileMediaType } from '../api/upload-body.ts';

export type FileCall = {
  path: string;
  file: Readable;
  /** Its length in bytes; null when it is not known before its end. */
  bytes: number | null;
};

/**
 * Sends a file as the body of a POST over the daemon's socket.
 * @returns the answer, which may come before all of it was sent: then the rest is not wanted.
 * @throws what the file throws when it cannot be read
 */
export async function sendFile(
  socketPath: string,
  { path, file, bytes }: FileCall,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const headers: Record<string, string | number> = {
    host: 'hyperscale',
    'content-type': fileMediaType,
    ...(bytes === null ? {} : { 'content-length': bytes }),
  };
  const outgoing = request({ socketPath, method: 'POST', path, headers, signal });
  const over = new AbortController();
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', (response) => {
      // Where not all was sent, nobody else would end the connection.
      response.once('close', () => outgoing.destroy());
      resolve(response);
    });
    outgoing.on('error', reject);
  }).finally(() => over.abort());
  try {
    const sent = send(file, outgoing, over.signal);
    return await Promise.race([answer, sent.then(() => answer)]);
  } catch (error) {
    answer.catch(() => undefined);
    outgoing.destroy();
    throw error;
  } finally {
    file.destroy();
  }
}

/** Ends when all of it was sent, or `over` says that there is an answer or will be none. */
async function send(file: Readable, outgoing: ClientRequest, over: AbortSignal): Promise<void> {
  for await (const chunk of file) {
    if (over.aborted) return;
    if (!outgoing.write(chunk)) {
      await once(outgoing, 'drain', { signal: over }).catch(() => null);
    }
  }
  if (!over.aborted) outgoing.end();
}

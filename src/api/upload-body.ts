import type { Readable } from 'node:stream';
import { HyperscaleError } from '../errors.ts';
import type { App } from './app.ts';

/** The media type of a file as it is. */
export const fileMediaType = 'application/octet-stream';

/** How long the rest of a refused file is taken and thrown away, until its sender has read why. */
const lingerMs = 5_000;

/**
 * Lets the routes of this part of the application take a stream of any length as their body. When one
 * is refused before all of it was read, the rest is let run dry for a while: a connection that is cut
 * at once would take the answer with it.
 */
export function takeFiles(app: App): void {
  app.addContentTypeParser(fileMediaType, (_request, payload, done) => done(null, payload));
  app.addHook('onError', async (request) => {
    const { raw } = request;
    if (raw.complete || raw.destroyed) return;
    // No `connection: close`: Node.js would cut it as soon as the answer is sent.
    const timer = setTimeout(() => raw.destroy(), lingerMs);
    raw.once('close', () => clearTimeout(timer));
    raw.on('error', () => undefined);
    raw.resume();
  });
}

/** The file that a request carries. @throws `bad-input` when it carries none */
export function fileIn(body: unknown): Readable {
  const stream = body as Partial<Readable> | null | undefined;
  if (typeof stream?.pipe === 'function') return body as Readable;
  throw new HyperscaleError('bad-input', 'the request has no file as its body', {
    hint: `Send the file with \`content-type: ${fileMediaType}\`.`,
  });
}

import type { FastifyReply } from 'fastify';
import { HyperscaleError } from '../errors.ts';

/**
 * Aborted when the client goes away before it was answered. Fastify's own `request.signal` looks
 * at the request, which is closed as soon as its body was read; the answer tells the truth.
 */
export function clientGone(reply: Pick<FastifyReply, 'raw'>): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) {
      gone.abort(new HyperscaleError('cancelled', 'the client went away'));
    }
  });
  return gone.signal;
}

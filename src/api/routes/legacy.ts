import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import { callOf } from '../../legacy/argument.ts';
import { Daemon } from '../../legacy/daemon.ts';
import { ofCaller } from '../../legacy/operations.ts';
import { carryOut } from '../../legacy/run.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';

/**
 * Calls of the legacy protocol, carried out here instead of in a process of their own, which takes
 * longer to start than the call to be done (`libexec/legacy-call`). Each asks this same API again. The
 * answer is text: the exit status on a line, the reply on a line, and what goes to standard error.
 * @param socket where it listens; undefined over TCP, where nobody makes such calls.
 */
export function legacyRoutes(app: App, socket: string | undefined): void {
  app.post(
    '/legacy',
    {
      schema: {
        // Between hscli and the daemon of the same package: its answer is made for a small reader.
        hide: true,
        body: Type.Record(Type.String(), Type.Unknown()),
      },
    },
    async (request, reply) => {
      const call = callOf(request.body);
      if (ofCaller.has(call.token) || socket === undefined) {
        throw new HyperscaleError('not-allowed', `${call.token} is not for the daemon to do`, {
          hint: 'Call hscli on this node.',
        });
      }
      const daemon = new Daemon(socket, clientGone(reply));
      const { stdout, stderr, exit } = await carryOut(call, daemon);
      return reply.type('text/plain; charset=utf-8').send(`${exit}\n${stdout}${stderr}`);
    },
  );
}

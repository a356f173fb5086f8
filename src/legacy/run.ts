import { parseArgument, tokenOf } from './argument.ts';
import { Daemon } from './daemon.ts';
import { operationFor } from './operations.ts';
import { type Outcome, success } from './reply.ts';

/**
 * Carries out one legacy call.
 * @param args the command line: one JSON object.
 * @param socket of this node's daemon.
 */
export async function runLegacy(args: readonly string[], socket: string): Promise<Outcome> {
  try {
    const call = parseArgument(args);
    const operation = await operationFor(call);
    const routingKey = call.kind === 'message' ? call.routingKey : null;
    const payload = await operation({ body: call.body, routingKey, daemon: new Daemon(socket) });
    return success(call.token, payload);
  } catch (error) {
    // Loaded now: a call that succeeds does not wait for it.
    const { failure } = await import('./failure.ts');
    return failure(tokenOf(args), error);
  }
}

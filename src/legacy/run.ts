import { type LegacyCall, parseArgument, tokenOf } from './argument.ts';
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
    return await carryOut(parseArgument(args), new Daemon(socket));
  } catch (error) {
    return await failed(tokenOf(args), error);
  }
}

/** Carries out a call that was read. */
export async function carryOut(call: LegacyCall, daemon: Daemon): Promise<Outcome> {
  try {
    const operation = await operationFor(call);
    const routingKey = call.kind === 'message' ? call.routingKey : null;
    const payload = await operation({ body: call.body, routingKey, daemon });
    return success(call.token, payload);
  } catch (error) {
    return await failed(call.token, error);
  }
}

async function failed(token: string, error: unknown): Promise<Outcome> {
  // Loaded now: a call that succeeds does not wait for it.
  const { failure } = await import('./failure.ts');
  return failure(token, error);
}

import { failureOf } from '../cli/failure.ts';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { errCodeOf } from './err-codes.ts';
import { type Outcome, replyLine } from './reply.ts';

/** The reply to a call that was not done: for drivers that read stdout and for those that do not. */
export function failure(token: string, thrown: unknown): Outcome {
  const error = isHyperscaleError(thrown)
    ? thrown
    : new HyperscaleError('internal', errorText(thrown), { cause: thrown });
  const { text, exit } = failureOf(error, false);
  const reply = { token, err_code: errCodeOf(error), err_msg: error.message, payload: null };
  return { stdout: replyLine(reply), stderr: text, exit };
}

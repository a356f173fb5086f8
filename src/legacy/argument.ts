import { HyperscaleError } from '../errors.ts';
import { badMessage, badParameter } from './err-codes.ts';

/** A JSON object whose fields nobody has checked yet. */
export type Body = Readonly<Record<string, unknown>>;

/** What the one argument asks for. */
export type LegacyCall =
  | { kind: 'operation'; token: string; body: Body }
  | { kind: 'message'; token: string; exchange: string; routingKey: string | null; body: Body };

/** An argument is refused unread when it is longer; no operation needs a hundredth of it. */
export const maxArgumentBytes = 2 ** 20;

/** Names of operations, tokens, exchanges and routing keys are no longer. */
const maxWord = 128;

/** The token of a reply to an argument that names none. */
export const unknownToken = 'unknown';

/**
 * Reads the command line of a legacy call: exactly one argument, a JSON object.
 * @throws `bad-input` that says what is wrong with it.
 */
export function parseArgument(args: readonly string[]): LegacyCall {
  const [text = '', ...more] = args;
  if (more.length > 0) {
    throw bad(`${args.length} arguments were given, and a legacy call has one`, {
      hint: 'Quote the whole JSON object, so that the shell passes it on as one argument.',
    });
  }
  if (Buffer.byteLength(text) > maxArgumentBytes) {
    throw bad('the argument is longer than 1 MiB');
  }
  return callOf(parsed(text));
}

/** Reads the JSON object of a call. @throws `bad-input` that says what is wrong with it. */
export function callOf(whole: Body): LegacyCall {
  const operation = word(whole, 'operation');
  if (operation !== 'message') return { kind: 'operation', token: operation, body: whole };
  const { msg_body: body, routing_key: routingKey } = whole;
  return {
    kind: 'message',
    token: word(whole, 'msg_token'),
    exchange: word(whole, 'exchange_name'),
    // A driver that does not know the other side's address sends null.
    routingKey: routingKey === undefined || routingKey === null ? null : word(whole, 'routing_key'),
    body: body === undefined ? {} : object(body, 'msg_body'),
  };
}

/** The token that a reply to this argument carries, as far as it can be read. */
export function tokenOf(args: readonly string[]): string {
  try {
    return parseArgument(args).token;
  } catch {
    return unknownToken;
  }
}

function parsed(text: string): Body {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const end = text.length > 60 ? `…${text.slice(-60)}` : text;
    throw bad(`the argument is not valid JSON: ${firstLine(error)}`, {
      hint: `It has ${text.length} characters and ends with ${JSON.stringify(end)}: is it cut off?`,
      cause: error,
    });
  }
  return object(value, 'the argument');
}

function object(value: unknown, what: string): Body {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad(`${what} is not a JSON object`);
  }
  return { ...value };
}

/** A field that names something. */
function word(body: Body, field: string): string {
  const value = body[field];
  if (value === undefined) throw bad(`the argument lacks "${field}"`, { errCode: badMessage });
  if (typeof value !== 'string') throw bad(`"${field}" is not a text`, { errCode: badMessage });
  if (value === '' || value.length > maxWord) {
    throw bad(`"${field}" has ${value.length} characters; it has 1 to ${maxWord}`, {
      errCode: badMessage,
    });
  }
  return value;
}

function bad(
  message: string,
  options: { hint?: string; errCode?: number; cause?: unknown } = {},
): HyperscaleError {
  const { hint = 'docs/legacy-protocol.md shows what is understood.', cause } = options;
  const errCode = options.errCode ?? badParameter;
  return new HyperscaleError('bad-input', message, { hint, values: { errCode }, cause });
}

function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

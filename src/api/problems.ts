import type {
  FastifyBaseLogger,
  FastifyError,
  FastifyRequest,
  FastifySchemaValidationError,
} from 'fastify';
import { type ErrorCode, errorCodes, HyperscaleError } from '../errors.ts';
import type { ProblemAnswer } from './schemas.ts';

export const problemMediaType = 'application/problem+json; charset=utf-8';

/**
 * What is answered for anything thrown while a request was served (RFC 9457). What is not ours
 * is logged and answered as `internal`, without its text: that may tell what a client must not
 * know.
 */
export function problemFor(
  error: FastifyError | HyperscaleError | Error,
  request: FastifyRequest,
  log: FastifyBaseLogger,
): ProblemAnswer {
  if (error instanceof HyperscaleError) {
    if (errorCodes[error.code].status >= 500) {
      log.warn({ err: error, code: error.code, values: error.values }, 'request failed');
    }
    return problemOf(error);
  }
  if (request.socket.destroyed && error.name === 'AbortError') {
    return problemOf(new HyperscaleError('cancelled', 'the client went away'));
  }
  if ('validation' in error && error.validation !== undefined) {
    return problemOf(badInput(error.validation, error.validationContext ?? 'body'));
  }
  if ('statusCode' in error && error.statusCode !== undefined && error.statusCode < 500) {
    // Refused before our code saw it: not JSON, too long, unknown media type.
    return { ...problemOf(unreadable(error)), status: error.statusCode };
  }
  log.error({ err: error, request: request.id }, 'unexpected error');
  return problemOf(
    new HyperscaleError('internal', 'something unexpected went wrong in the daemon', {
      hint: `The daemon's log tells more, under request ${request.id}.`,
      values: { request: request.id },
    }),
  );
}

/** The body of an answer for one of our errors. */
export function problemOf(error: HyperscaleError): ProblemAnswer {
  return {
    type: `urn:hyperscale:error:${error.code}`,
    title: titleOf(error.code),
    status: errorCodes[error.code].status,
    detail: error.message,
    code: error.code,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    values: error.values,
  };
}

/** The opposite of `problemOf`, for clients; anything that is not a problem becomes `internal`. */
export function errorFromProblem(body: unknown, status: number): HyperscaleError {
  const problem: Partial<ProblemAnswer> = typeof body === 'object' && body !== null ? body : {};
  const { code, detail, hint, values } = problem;
  if (typeof code !== 'string' || !isErrorCode(code)) {
    const text = `the daemon answered with HTTP status ${status}`;
    return new HyperscaleError('internal', text, { values: { status } });
  }
  return new HyperscaleError(code, detail ?? code, {
    ...(hint === undefined ? {} : { hint }),
    values: values ?? {},
  });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}

function titleOf(code: string): string {
  const words = code.replaceAll('-', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function unreadable(error: FastifyError): HyperscaleError {
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new HyperscaleError('bad-input', 'the body is longer than 64 KiB', {
      hint: 'No request needs so much.',
    });
  }
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new HyperscaleError('bad-input', 'the body is not application/json', {
      hint: 'Send JSON with `content-type: application/json`.',
    });
  }
  if (error.code === 'FST_ERR_CTP_EMPTY_JSON_BODY') {
    return new HyperscaleError('bad-input', 'the body is empty, but its content-type says JSON');
  }
  return new HyperscaleError('bad-input', error.message);
}

const places: Record<string, string> = {
  params: 'path',
  querystring: 'query',
  headers: 'headers',
  body: 'body',
};

/** Names the field, its value and what is allowed. */
function badInput(problems: FastifySchemaValidationError[], context: string): HyperscaleError {
  const place = places[context] ?? context;
  const first = problems[0];
  if (first === undefined) {
    return new HyperscaleError('bad-input', `the ${place} is not valid`);
  }
  const field = first.instancePath.slice(1).replaceAll('/', '.');
  const schema = objectOf(Reflect.get(first, 'parentSchema'));
  const fields = Object.keys(objectOf(schema.properties));
  const value: unknown = Reflect.get(first, 'data');
  switch (first.keyword) {
    case 'additionalProperties': {
      const unknown = String(first.params.additionalProperty);
      return new HyperscaleError('bad-input', `${place} has an unknown field ${quote(unknown)}`, {
        hint: `Known fields: ${fields.join(', ')}.`,
        values: { field: unknown, allowed: fields },
      });
    }
    case 'required': {
      const missing = String(first.params.missingProperty);
      return new HyperscaleError('bad-input', `${place} lacks ${quote(missing)}`, {
        hint: `Required: ${listOf(schema.required).join(', ')}.`,
        values: { field: missing, allowed: schema.required },
      });
    }
    default: {
      const allowed = allowedBy(first, schema);
      const name = field === '' ? `the ${place}` : field;
      return new HyperscaleError('bad-input', `${name} ${quote(value)} ${phrase(first)}`, {
        ...(allowed === undefined ? {} : { hint: allowed }),
        values: { field: field === '' ? place : field, value: shortened(value), allowed },
      });
    }
  }
}

function phrase(problem: FastifySchemaValidationError): string {
  switch (problem.keyword) {
    case 'type':
      return `is not ${/^[aeiou]/.test(String(problem.params.type)) ? 'an' : 'a'} ${problem.params.type}`;
    case 'enum':
      return 'is not one of the allowed values';
    case 'pattern':
      return 'has characters that are not allowed';
    default:
      return (problem.message ?? 'is not valid').replace(/^must (NOT )?/, (_, not) =>
        not === undefined ? 'must ' : 'must not ',
      );
  }
}

function allowedBy(
  problem: FastifySchemaValidationError,
  schema: Record<string, unknown>,
): string | undefined {
  if (problem.keyword === 'enum') {
    return `Allowed: ${listOf(problem.params.allowedValues).join(', ')}.`;
  }
  return typeof schema.description === 'string' ? schema.description : undefined;
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function shortened(value: unknown): unknown {
  const text = JSON.stringify(value);
  return text !== undefined && text.length > 200 ? `${text.slice(0, 200)}…` : value;
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

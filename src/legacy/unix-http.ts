import { connect } from 'node:net';
import { HyperscaleError } from '../errors.ts';

/**
 * HTTP/1.1 for one request over a Unix socket, as much of it as our own daemon speaks. By hand,
 * because loading `node:http` takes longer than all the rest of a legacy call.
 */

export type HttpRequest = { method: string; path: string; body?: unknown };
export type HttpReply = { status: number; body: string };

/** More than the biggest answer that a legacy call asks for. */
const maxReplyBytes = 16 * 2 ** 20;

/**
 * Makes one request on a connection of its own.
 * @param timeoutMs for all of it.
 * @throws `timeout`, `unavailable` for an answer that is cut off or no HTTP, or the socket's error.
 */
export async function requestOnce(
  socket: string,
  request: HttpRequest,
  timeoutMs: number,
): Promise<HttpReply> {
  return parseReply(await exchange(socket, encodeRequest(request), timeoutMs));
}

/** Sends bytes and resolves to all that comes back until the other side ends the connection. */
function exchange(socket: string, bytes: string, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    const connection = connect(socket);
    const timer = setTimeout(() => connection.destroy(tooLate(timeoutMs / 1000)), timeoutMs);
    connection.on('data', (piece: Buffer) => {
      pieces.push(piece);
      length += piece.length;
      if (length > maxReplyBytes) connection.destroy(broken('it is longer than 16 MiB'));
    });
    connection.once('error', reject);
    connection.once('end', () => resolve(Buffer.concat(pieces)));
    connection.once('close', () => clearTimeout(timer));
    connection.write(bytes);
  });
}

/** The bytes of a request after whose answer the connection ends. */
export function encodeRequest({ method, path, body }: HttpRequest): string {
  const json = body === undefined ? '' : JSON.stringify(body);
  const fields =
    body === undefined
      ? ''
      : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nhost: hyperscale\r\nconnection: close\r\n${fields}\r\n${json}`;
}

/** Reads a whole answer. @throws `unavailable` when it is not whole. */
export function parseReply(bytes: Buffer): HttpReply {
  if (bytes.length === 0) throw broken('it is empty');
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) throw broken('its head is cut off');
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})( |$)/.exec(first)?.[1];
  if (status === undefined) throw broken('it is no HTTP');
  const body = bytes.subarray(end + 4);
  if (field(lines, 'transfer-encoding') !== undefined) throw broken('it comes in chunks');
  const length = Number(field(lines, 'content-length') ?? 0);
  if (body.length !== length) throw broken(`${body.length} of its ${length} bytes came`);
  return { status: Number(status), body: body.toString() };
}

function field(lines: readonly string[], name: string): string | undefined {
  const line = lines.find((l) => l.toLowerCase().startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

function tooLate(seconds: number): HyperscaleError {
  return new HyperscaleError('timeout', `no answer within ${seconds} s`, {
    hint: 'It may still happen: look with `hscli events`, or make the same call again.',
    values: { seconds },
  });
}

function broken(why: string): HyperscaleError {
  return new HyperscaleError('unavailable', `the answer of hyperscaled is not whole: ${why}`, {
    hint: 'It may have ended meanwhile. Make the same call again: nothing is done twice.',
  });
}

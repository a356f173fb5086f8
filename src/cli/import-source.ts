import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { errorText, HyperscaleError } from '../errors.ts';
import type { Io } from './context.ts';

/** Where a file comes from, opened. */
export type ImportSource = {
  file: Readable;
  /** Null when it is not known before its end. */
  bytes: number | null;
  /** A name for what is made of it; null when there is none to be had. */
  name: string | null;
};

const suffixes = /\.(qcow2|qcow|img|raw|vmdk|vhdx|vhd|iso|bin)$/i;

/**
 * Opens a file, a URL (http, https) or standard input (`-`).
 * @throws `not-found`, `bad-input`, `unavailable` when a server does not send it
 */
export async function openSource(io: Io, from: string): Promise<ImportSource> {
  if (from === '-') return { file: io.stdin, bytes: null, name: null };
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(from) ? download(io, from) : openFile(from);
}

/** The name that an image gets which nobody named: that of its file, without what tells its format. */
export function nameFrom(path: string): string | null {
  const name = basename(path)
    .replace(suffixes, '')
    .replaceAll(/[^A-Za-z0-9._-]/g, '-');
  const valid = name.replace(/^[^A-Za-z0-9]+/, '').slice(0, 63);
  return valid === '' ? null : valid;
}

async function openFile(path: string): Promise<ImportSource> {
  try {
    const { size } = await mustBeFile(path);
    return {
      file: createReadStream(path, { highWaterMark: 1 << 20 }),
      bytes: size,
      name: nameFrom(path),
    };
  } catch (error) {
    if (error instanceof HyperscaleError) throw error;
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new HyperscaleError(
      missing ? 'not-found' : 'bad-input',
      `cannot read ${path}: ${missing ? 'there is no such file' : errorText(error)}`,
      { hint: 'Give a file, an http(s) URL, or - for standard input.', cause: error },
    );
  }
}

async function mustBeFile(path: string) {
  const found = await stat(path);
  if (found.isFile()) return found;
  throw new HyperscaleError('bad-input', `${path} is not a file`, {
    hint: 'A device is read with standard input: hscli … - < DEVICE',
  });
}

async function download(io: Io, text: string): Promise<ImportSource> {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new HyperscaleError('bad-input', `cannot download ${JSON.stringify(text)}`, {
      hint: 'Give a URL that begins with http:// or https://.',
    });
  }
  const { signal } = io;
  // Packed on the way, its length would not be known.
  const headers = { 'accept-encoding': 'identity' };
  let response: Response;
  try {
    response = await fetch(url, { signal, headers });
  } catch (error) {
    if (signal.aborted) throw new HyperscaleError('cancelled', 'cancelled');
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw failed(url, errorText(cause));
  }
  if (!response.ok || response.body === null) throw failed(url, `HTTP status ${response.status}`);
  const length = response.headers.get('content-length');
  const packed = response.headers.get('content-encoding') !== null;
  // The two libraries' types of one and the same stream differ.
  const body = response.body as ReadableStream<Uint8Array>;
  return {
    file: Readable.fromWeb(body, { signal }),
    bytes: length === null || packed ? null : Number(length),
    name: nameFrom(url.pathname),
  };
}

function failed(url: URL, why: string): HyperscaleError {
  return new HyperscaleError(
    'unavailable',
    `cannot download ${url.origin}${url.pathname}: ${why}`,
    {
      hint: 'See that this host reaches the server, and that the address is right.',
    },
  );
}

import { Transform } from 'node:stream';
import type { ImportWishes } from '../api/image-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import { sha256In } from '../image/checksum.ts';
import type { SentFile } from './client.ts';
import type { Context } from './context.ts';
import { openSource } from './import-source.ts';
import { madePart, withProgress } from './progress.ts';
import { formatBytes, parseSize } from './size.ts';

export type ImportOptions = {
  name?: string;
  policy?: string;
  format?: string;
  checksum?: string;
  maxSize?: string;
};

/**
 * Sends a file, a URL's or standard input's content to the daemon; a terminal sees how much was sent,
 * and then how far the daemon is with it.
 */
export async function importFrom<T>(
  context: Context,
  from: string,
  options: ImportOptions,
  call: (wishes: ImportWishes, file: SentFile) => Promise<T>,
): Promise<T> {
  // What cannot be right is said before anything is opened.
  if (options.checksum !== undefined) sha256In(options.checksum);
  const { file, bytes, name: own } = await openSource(context.io, from);
  const name = options.name ?? own;
  if (name === null) {
    throw new HyperscaleError('bad-input', `what comes from ${from} has no name`, {
      hint: 'Give one with --name.',
    });
  }
  const { policy, format, checksum, maxSize } = options;
  const wishes: ImportWishes = {
    name,
    ...(policy === undefined ? {} : { policy }),
    ...(format === undefined ? {} : { format }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(maxSize === undefined ? {} : { maxSizeBytes: String(parseSize(maxSize)) }),
  };
  let sent = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length;
      done(null, chunk);
    },
  });
  // What breaks the source breaks what is sent, so that the daemon never takes half a file for all.
  file.once('error', (error) => counted.destroy(error));
  const describe = async () => {
    if (bytes === null || sent < bytes) return sentText(name, sent, bytes);
    const part = await madePart(context, 'import', name);
    return `Importing ${name}${part === null ? ' …' : `: ${Math.floor(part * 100)} %`}`;
  };
  return withProgress(context, describe, () => call(wishes, { file: file.pipe(counted), bytes }));
}

function sentText(name: string, sent: number, bytes: number | null): string {
  const whole = bytes === null ? '' : ` of ${formatBytes(bytes)}`;
  return `Sending ${name}: ${formatBytes(sent)}${whole}`;
}

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, open, rename, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { hasCode, syncPath } from '../engine/durable.ts';
import { NbdConnection } from '../engine/nbd-client.ts';
import { runTool } from '../engine/run-tool.ts';
import { errorText, HyperscaleError } from '../errors.ts';

/** Formats that a volume can be written in. */
export const exportFormats = ['raw', 'qcow2'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** What is read: an export of an attachment's socket on this host. */
export type ExportSource = { socket: string; session: string };

/** How long a head may be away, while another one takes its place. */
const reconnectSeconds = 60;
const pieceBytes = 2 ** 20;

/**
 * Writes what a volume holds to a new file, sparse where there are zeros; the file has its name only
 * when it is complete and on stable storage.
 * @param progress told the part that is done, 0 to 1.
 * @throws `exists` when there is one, `no-space`, `engine`, `cancelled`; nothing is left then.
 */
export async function exportToFile(
  source: ExportSource,
  { path, format }: { path: string; format: ExportFormat },
  signal: AbortSignal,
  progress: (part: number) => void,
): Promise<void> {
  await mustBeFree(path);
  const partial = `${path}.${randomBytes(4).toString('hex')}.partial`;
  const node = {
    driver: 'raw',
    'read-only': true,
    file: {
      driver: 'nbd',
      server: { type: 'unix', path: source.socket },
      export: source.session,
      'reconnect-delay': reconnectSeconds,
    },
  };
  await makeFile(partial);
  const from = `json:${JSON.stringify(node)}`;
  const args = ['convert', '-p', '-t', 'writeback', '-O', format, from, partial];
  try {
    await runTool('qemu-img', args, signal, (text) => {
      const part = /\((\d+\.\d+)\/100%\)/.exec(text)?.[1];
      if (part !== undefined) progress(Number(part) / 100);
    });
    await syncPath(partial);
    await mustBeFree(path);
    await rename(partial, path);
    await syncPath(dirname(path));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/**
 * Writes all bytes that a volume holds to a stream, in order.
 * @returns how many they are.
 * @throws `engine`, `unavailable` when the volume's server goes away, `cancelled` also when whoever
 *   reads the stream goes away, `no-space`
 */
export async function exportToStream(
  source: ExportSource,
  to: Writable,
  signal: AbortSignal,
  progress: (part: number) => void,
): Promise<number> {
  let socket: Socket | undefined;
  let refused: Error | undefined;
  const cut = () => socket?.destroy();
  const broken = (error: Error) => {
    refused = error;
    cut();
  };
  signal.addEventListener('abort', cut, { once: true });
  to.once('error', broken);
  try {
    const { connection, sizeBytes } = await NbdConnection.openUnix(
      source.socket,
      source.session,
      (opened) => {
        socket = opened;
      },
    );
    for (let at = 0; at < sizeBytes; at += pieceBytes) {
      const piece = await connection.read(at, Math.min(pieceBytes, sizeBytes - at));
      if (refused !== undefined) throw refused;
      if (!to.write(piece)) await once(to, 'drain', { signal });
      progress(at / sizeBytes);
    }
    return sizeBytes;
  } catch (error) {
    if (signal.aborted) throw new HyperscaleError('cancelled', 'cancelled');
    if (refused !== undefined) throw notTaken(refused);
    if (error instanceof HyperscaleError) throw error;
    throw new HyperscaleError('unavailable', `the volume cannot be read on: ${errorText(error)}`, {
      hint: 'Try again; what was written is not complete.',
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', cut);
    to.off('error', broken);
    socket?.destroy();
  }
}

/** Whoever was to have the bytes did not take them all. */
function notTaken(error: Error): HyperscaleError {
  return hasCode(error, 'ENOSPC', 'EDQUOT')
    ? new HyperscaleError('no-space', 'there is no space where the output goes', { cause: error })
    : new HyperscaleError('cancelled', 'what reads the output ended before it had all of it', {
        cause: error,
      });
}

/** For its owner alone: whoever reads it reads a disk. @throws `bad-input` */
async function makeFile(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    throw new HyperscaleError('bad-input', `cannot write ${path}: ${errorText(error)}`, {
      hint: 'Give a file in a directory that is there and that you may write to.',
      cause: error,
    });
  }
}

/** @throws `exists` */
async function mustBeFree(path: string): Promise<void> {
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  throw new HyperscaleError('exists', `${path} is there already`, {
    hint: 'Choose another name, or remove it first.',
    values: { path },
  });
}

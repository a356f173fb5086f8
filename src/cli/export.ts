import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import {
  type ExportFormat,
  type ExportSource,
  exportFormats,
  exportToFile,
  exportToStream,
} from '../image/export.ts';
import type { Client } from './client.ts';
import { type Context, contextOf, type Io } from './context.ts';
import { withProgress } from './progress.ts';
import { formatBytes } from './size.ts';

export type ExportOptions = { to: string; format?: string };

/** How long the clone may take to go, after Ctrl-C too. */
const cleanUpMs = 60_000;
/** Nothing is written to it, so it needs no second copy. */
const clonePolicy = 'Bronze';

/** What is exported: a volume or an image, by id and by name for people, or a snapshot of it. */
export type Exported = { id: string; name: string; snapshot: string | null };

export type ExportAnswer = { name: string; to: string; format: ExportFormat; sizeBytes: number };

export function exportOptions(command: Command): Command {
  return command
    .requiredOption('--to <file>', 'a new file, or - for standard output (raw)')
    .option('--format <format>', 'raw (default; holes where there are zeros) or qcow2');
}

/**
 * Writes what a volume, an image or a snapshot holds to a file or to standard output. It is read through
 * a clone for that purpose, so that nobody who uses the volume meanwhile is seen, or disturbed.
 */
export async function exportTo(
  io: Io,
  command: Command,
  what: Exported,
  options: ExportOptions,
): Promise<ExportAnswer> {
  const context = contextOf(io, command, 0);
  const format = formatNamed(options.format ?? 'raw');
  const toStream = options.to === '-';
  if (toStream && format !== 'raw') {
    throw new HyperscaleError('bad-input', `${format} cannot be written to standard output`, {
      hint: 'Only raw can be written in order; give a file for anything else.',
    });
  }
  if (toStream && io.stdout.isTTY === true) {
    throw new HyperscaleError('bad-input', 'standard output is a terminal', {
      hint: 'Send it on: hscli … --to - | gzip > FILE',
    });
  }
  const to = toStream ? '-' : resolve(options.to);
  const { signal, stdout } = io;
  const late = () =>
    contextOf({ ...io, signal: AbortSignal.timeout(cleanUpMs) }, command, 0).client;
  let part = 0;
  const progress = (now: number) => {
    part = now;
  };
  const describe = async () => `Exporting ${what.name}: ${Math.floor(part * 100)} %`;
  const sizeBytes = await withProgress(context, describe, () =>
    throughClone(context, late, what, async (source) => {
      if (toStream) await exportToStream(source, stdout, signal, progress);
      else await exportToFile(source, { path: to, format }, signal, progress);
    }),
  );
  return { name: what.name, to, format, sizeBytes };
}

/** Prints what was exported, unless standard output has the content itself. */
export async function printExported(context: Context, answer: ExportAnswer): Promise<void> {
  const { to, name, format, sizeBytes } = answer;
  if (to === '-') return;
  await context.print(
    answer,
    () => `${name} (${formatBytes(sizeBytes)}) is in ${to}, as ${format}.\n`,
  );
}

/** @returns the size of what was read, in bytes */
async function throughClone(
  { client }: Context,
  late: () => Client,
  { id, snapshot }: Exported,
  use: (source: ExportSource) => Promise<void>,
): Promise<number> {
  const name = `export-${randomBytes(6).toString('hex')}`;
  try {
    const source = { volume: id, ...(snapshot === null ? {} : { snapshot }) };
    const clone = await client.create({ name, source, policy: clonePolicy });
    const { socket, session } = await client.attach(clone.id, undefined);
    await use({ socket, session });
    return clone.sizeBytes;
  } finally {
    await removeClone(late(), name);
  }
}

/** Also after Ctrl-C, and when it is not known whether it was made. */
async function removeClone(client: Client, name: string): Promise<void> {
  try {
    await client.detach(name, await client.thisNode());
    await client.delete(name);
  } catch (error) {
    if (!isHyperscaleError(error, 'not-found')) throw error;
  }
}

function formatNamed(name: string): ExportFormat {
  const found = exportFormats.find((format) => format === name.toLowerCase());
  if (found !== undefined) return found;
  throw new HyperscaleError('bad-input', `${JSON.stringify(name)} is no format to export in`, {
    hint: `Formats are ${exportFormats.join(' and ')}.`,
  });
}

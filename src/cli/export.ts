import { resolve } from 'node:path';
import type { Command } from 'commander';
import { HyperscaleError } from '../errors.ts';
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

/** How long the view may take to go, after Ctrl-C too. */
const cleanUpMs = 60_000;

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
 * a view, so that nobody who uses the volume meanwhile is seen, or disturbed. When this process is
 * killed, the daemon takes the view away.
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
    throughView(context, late, what, async (source) => {
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
async function throughView(
  { client }: Context,
  late: () => Client,
  { id, snapshot }: Exported,
  use: (source: ExportSource) => Promise<void>,
): Promise<number> {
  const view = await client.openView(id, snapshot);
  try {
    const { socket, session } = view.endpoint;
    await use({ socket, session });
    return view.sizeBytes;
  } finally {
    // Also after Ctrl-C.
    await late().closeView(id, view.id);
  }
}

function formatNamed(name: string): ExportFormat {
  const found = exportFormats.find((format) => format === name.toLowerCase());
  if (found !== undefined) return found;
  throw new HyperscaleError('bad-input', `${JSON.stringify(name)} is no format to export in`, {
    hint: `Formats are ${exportFormats.join(' and ')}.`,
  });
}

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { VolumeAnswer } from '../api/schemas.ts';
import { HyperscaleError } from '../errors.ts';
import type { Context } from './context.ts';
import { formatBytes } from './size.ts';

/**
 * Asks a person to type the name of the volume that is about to be deleted.
 * @throws `bad-input` without a terminal, `cancelled` when something else is typed.
 */
export async function confirmDelete(context: Context, volume: VolumeAnswer): Promise<void> {
  const size = formatBytes(volume.sizeBytes);
  await askForName(context, {
    name: volume.name,
    question: `All data of ${volume.name} (${size}) will be gone. Type its name to delete it:`,
    nobody: `nobody can be asked whether to delete ${volume.name}`,
    hint: 'Say --yes to delete it without being asked.',
    refused: 'that was not its name; nothing was deleted',
  });
}

/**
 * Asks a person to type a name before something that cannot be undone.
 * @throws `bad-input` (`nobody`) without a terminal, `cancelled` (`refused`) at any other answer.
 */
export async function askForName(
  context: Context,
  words: { name: string; question: string; nobody: string; hint: string; refused: string },
): Promise<void> {
  const { io } = context;
  if (io.stdin.isTTY !== true || context.json) {
    throw new HyperscaleError('bad-input', words.nobody, { hint: words.hint });
  }
  const reader = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  try {
    // The end of the input (Ctrl-D) is an answer too.
    const answer = await Promise.race([
      reader.question(`${words.question} `, { signal: io.signal }),
      once(reader, 'close', { signal: io.signal }).then(() => ''),
    ]);
    if (answer.trim() !== words.name) throw new HyperscaleError('cancelled', words.refused);
  } finally {
    reader.close();
  }
}

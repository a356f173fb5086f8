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
  const { io } = context;
  if (io.stdin.isTTY !== true || context.json) {
    throw new HyperscaleError('bad-input', `nobody can be asked whether to delete ${volume.name}`, {
      hint: 'Say --yes to delete it without being asked.',
    });
  }
  const reader = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  try {
    const size = formatBytes(volume.sizeBytes);
    const question = `All data of ${volume.name} (${size}) will be gone. Type its name to delete it: `;
    // The end of the input (Ctrl-D) is an answer too.
    const answer = await Promise.race([
      reader.question(question, { signal: io.signal }),
      once(reader, 'close', { signal: io.signal }).then(() => ''),
    ]);
    if (answer.trim() !== volume.name) {
      throw new HyperscaleError('cancelled', 'that was not its name; nothing was deleted');
    }
  } finally {
    reader.close();
  }
}

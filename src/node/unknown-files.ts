import { knownLayers } from '../volume/queries.ts';
import type { Context } from './context.ts';

/**
 * Tells of layer files in the pool that no record knows. They are left where they are: an empty or
 * wrong metadata store must never cost data (protocol review, rule 12).
 */
export async function reportUnknownFiles(context: Context): Promise<void> {
  const { engine, store, log, events, self } = context;
  for (const volume of await engine.layers.volumes()) {
    const record = store.volume(volume)?.value;
    const known = new Set(record === undefined ? [] : knownLayers(record).map((l) => l.id));
    const unknown = (await engine.layers.list(volume)).filter((key) => !known.has(key.layer));
    if (unknown.length === 0) continue;
    const files = unknown.map((key) => engine.layers.path(key));
    log.warn({ volume, files }, 'no record knows these layer files; they are left alone');
    events.emit(
      'pool.unknown-files',
      `The pool of ${self.node} holds ${files.length} layer files of ${record?.name ?? volume} that no record knows; they are left alone.`,
      { volume, values: { files } },
    );
  }
}

/**
 * Breaks the code under test while it is loaded: `node --import .../mutation-hook.ts PROGRAM` with
 * the name of a mutation in SIM_MUTATION. Without one nothing changes.
 */
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { mutated } from './mutation-apply.ts';
import { mutations } from './mutations.ts';

const name = process.env.SIM_MUTATION ?? '';
if (name !== '') {
  const mutation = mutations.find((m) => m.name === name);
  if (mutation === undefined) throw new Error(`there is no mutation ${name}`);
  const file = fileURLToPath(new URL(`../../${mutation.file}`, import.meta.url));
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.startsWith('file:') || fileURLToPath(url) !== file) return loaded;
      return { ...loaded, source: mutated(mutation, String(loaded.source)) };
    },
  });
}

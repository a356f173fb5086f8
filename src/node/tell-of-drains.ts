import { drainReport } from '../cluster/drain.ts';
import type { Context } from './context.ts';

/** Many changes come at once; they are looked at together. */
const lookAfterMs = 500;

/** Emits an event when a node begins to be drained, is drained, or is not drained any more. */
export function tellOfDrains(context: Context): { stop(): void } {
  const { store, environment, events } = context;
  const told = new Map<string, 'draining' | 'drained'>();
  let cancel: (() => void) | undefined;
  const marked = () => store.nodes().filter((node) => node.drain !== undefined);
  const look = () => {
    cancel = undefined;
    for (const name of [...told.keys()]) {
      if (marked().some((n) => n.name === name)) continue;
      told.delete(name);
      // A node that was removed says so itself.
      if (store.node(name) === undefined) continue;
      events.emit('node.undrained', `The drain of node ${name} was ended.`, {
        values: { node: name },
      });
    }
    for (const node of marked()) {
      const { name } = node;
      if (!told.has(name)) {
        const by = node.drain?.by ?? 'somebody';
        events.emit('node.draining', `Node ${name} is being drained, as ${by} asked.`, {
          values: { node: name },
        });
        told.set(name, 'draining');
      }
      if (told.get(name) === 'drained') continue;
      const volumes = store.volumes().map((v) => v.value);
      if (drainReport(node, volumes, store.nodes()).state !== 'drained') continue;
      told.set(name, 'drained');
      events.emit('node.drained', `Node ${name} is drained: no volume has anything there.`, {
        values: { node: name },
      });
    }
  };
  for (const { name } of marked()) told.set(name, 'draining');
  const off = store.onChange(() => {
    if (told.size === 0 && marked().length === 0) return;
    cancel ??= environment.after(lookAfterMs, look);
  });
  if (told.size > 0) cancel = environment.after(lookAfterMs, look);
  return {
    stop: () => {
      off();
      cancel?.();
    },
  };
}

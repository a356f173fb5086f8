import type { Engine } from '../../src/engine/engine.ts';
import type { LayerContent } from '../../src/engine/layer-content.ts';
import type { NodeRun } from './node-run.ts';

/** What becomes of the result of some methods before the daemon gets it. */
type Results = { [method: string]: (result: never) => unknown };

/**
 * The object as one daemon sees it: answers of its methods, and what it calls back, come through
 * `run`. Everything else is passed on as it is.
 */
export function throughRun<T extends object>(target: T, run: NodeRun, results: Results = {}): T {
  const heard = (argument: unknown) =>
    typeof argument === 'function'
      ? (...news: unknown[]) => run.deliver(() => Reflect.apply(argument, undefined, news))
      : argument;
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name, object);
      if (typeof value !== 'function') return value;
      const change = results[String(name)];
      return (...given: unknown[]) => {
        const answer: unknown = Reflect.apply(value, object, given.map(heard));
        if (!(answer instanceof Promise)) return answer;
        const settled = run.settle(answer);
        return change === undefined
          ? settled
          : settled.then((result) => Reflect.apply(change, undefined, [result]));
      };
    },
  });
}

/** The engine as one daemon sees it. */
export function engineThroughRun(engine: Engine, run: NodeRun): Engine {
  const handle = <T extends object>(object: T) => throughRun(object, run);
  const results: Results = {
    adopt: ({ heads, proxies, gateways }: Awaited<ReturnType<Engine['adopt']>>) => ({
      heads: heads.map(handle),
      proxies: proxies.map(handle),
      gateways: gateways.map(handle),
    }),
    prepareHead: (head: object) => throughRun(head, run, { serve: handle }),
    startProxy: handle,
    startGateway: handle,
  };
  const replicas = handle(engine.replicas);
  const layers = handle(engine.layers);
  const outer = throughRun(engine, run, results);
  return new Proxy(outer, {
    get(object, name) {
      if (name === 'replicas') return replicas;
      return name === 'layers' ? layers : Reflect.get(object, name, object);
    },
  });
}

/** The content of layers as one daemon sees it. */
export function contentThroughRun(content: LayerContent, run: NodeRun): LayerContent {
  return throughRun(content, run, { mend: (mending: object) => throughRun(mending, run) });
}

/** A daemon with nothing but an engine: starts what it is told, and is killed by its test. */
import type { HeadSpec } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/engine/environment.ts';
import { createEngine } from '../../src/engine/index.ts';

const { options, spec } = JSON.parse(process.argv[2] ?? '') as {
  options: Omit<EngineOptions, 'log'>;
  spec: HeadSpec;
};
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const engine = await createEngine({ ...options, log });
await engine.replicas.start();
for (const { layer } of spec.sealed) await engine.replicas.export(layer, false);
const head = await (await engine.prepareHead(spec.volume)).serve(spec);
process.stdout.write(`${JSON.stringify({ head: head.state.pid, server: engine.replicas.pid })}\n`);
setInterval(() => undefined, 1000);

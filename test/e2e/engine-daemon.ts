/** A daemon with nothing but an engine: starts what it is told, and is killed by its test. */
import type { HeadSpec } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/engine/environment.ts';
import { createEngine } from '../../src/engine/index.ts';

const { options, spec, prepareOnly } = JSON.parse(process.argv[2] ?? '') as {
  options: Omit<EngineOptions, 'log'>;
  spec: HeadSpec;
  /** The head is prepared and never served. */
  prepareOnly?: boolean;
};
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const engine = await createEngine({ ...options, log });
await engine.replicas.start();
for (const { layer } of spec.sealed) await engine.replicas.export(layer, false);
const prepared = await engine.prepareHead(spec.volume, 'new', spec);
const head = prepareOnly === true ? null : (await prepared.serve(spec)).state.pid;
process.stdout.write(`${JSON.stringify({ head, server: engine.replicas.pid })}\n`);
setInterval(() => undefined, 1000);

import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { initPool } from '../node/pool.ts';
import { readConfig } from './config.ts';

const help = `hyperscaled: the HyperScale daemon of one node

  hyperscaled --config FILE             run in the foreground
  hyperscaled init-pool --config FILE   make this node's pool, once, in an empty directory

The daemon may be stopped or killed at any time: guests keep running, and the next
start adopts their disks. See docs/configuration.md for the file's settings.

Exit status: 0 stopped by a signal, 2 wrong usage or configuration, 8 the pool, the
run directory or the installed software cannot be used, 1 anything else.
`;

const defaultConfig = '/etc/hyperscale/hyperscaled.yaml';

async function main(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(help);
    return 0;
  }
  const init = args[0] === 'init-pool';
  const rest = init ? args.slice(1) : args;
  const [option, value] = rest;
  if (rest.length !== 0 && (option !== '--config' || value === undefined || rest.length > 2)) {
    process.stderr.write(
      `hyperscaled: unknown argument ${JSON.stringify(rest.join(' '))}\n\n${help}`,
    );
    return 2;
  }
  const config = await readConfig(value ?? defaultConfig);
  if (init) {
    if (config.pool === 'none') {
      throw new HyperscaleError('bad-input', 'the configuration says pool: none', {
        hint: 'A node without a pool needs none to be made: start hyperscaled.',
      });
    }
    const identity = await initPool(config.pool, config.node, new Date().toISOString());
    process.stdout.write(`${config.pool} is now pool ${identity.pool} of node ${identity.node}\n`);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => stop.abort(signal));
  }
  // Loaded only now: making a pool and asking for help need nothing of it.
  const { startDaemon } = await import('./daemon.ts');
  await startDaemon(config, stop.signal);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`hyperscaled: ${errorText(error)}\n`);
  if (isHyperscaleError(error) && error.hint !== undefined) {
    process.stderr.write(`  what to do: ${error.hint}\n`);
  }
  if (!isHyperscaleError(error) && error instanceof Error) {
    process.stderr.write(`${error.stack}\n`);
  }
  const wrongUse = isHyperscaleError(error, 'bad-input');
  const unusable = isHyperscaleError(error, 'foreign-pool', 'already-running', 'old-software');
  process.exit(wrongUse ? 2 : unusable ? 8 : 1);
}
process.exit();

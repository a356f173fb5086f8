import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { ConnectorOptions } from '../../connector/connector.ts';
import { HyperscaleError } from '../../errors.ts';
import { contextOf, type Io } from '../context.ts';
import { defaultSocket } from '../socket-error.ts';

const infoArgument = ['<info>', 'connection info: a JSON object'] as const;

/**
 * `hscli connection`: the volume driver and the connector of docs/libvirt.md for programs that are not
 * written in TypeScript, such as Nova's and os-brick's.
 */
export function connectionCommands(program: Command, io: Io): void {
  const connection = program
    .command('connection')
    .description('volumes for programs that give them to guests (docs/libvirt.md)');
  connection
    .command('connect')
    .description('make a volume usable on this host; prints the info with where it is')
    .argument(...infoArgument)
    .addHelpText(
      'after',
      `\nAgain is no error. What it began is taken back when it fails.\n\nExample:\n  hscli connection connect '{"driver_volume_type":"hyperscale","data":{"volume":"db1"}}'`,
    )
    .action(async (text: string, _options, command: Command) => {
      const driver = await driverFor(io, command, text);
      await printed(io, command, await driver.connectVolume(parsed('info', text), io.signal));
    });
  connection
    .command('disconnect')
    .description('end the use of a volume on this host; what is not connected is no error')
    .argument(...infoArgument)
    .option('--force', 'also while its block device is in use; its users get I/O errors')
    .action(async (text: string, options: { force?: true }, command: Command) => {
      const driver = await driverFor(io, command, text);
      const force = options.force === true;
      await driver.disconnectVolume(parsed('info', text), { force, signal: io.signal });
      await printed(io, command, {});
    });
  connection
    .command('extend')
    .description('make this host see the size that a volume has now; prints it in bytes')
    .argument(...infoArgument)
    .action(async (text: string, _options, command: Command) => {
      const driver = await driverFor(io, command, text);
      const sizeBytes = await driver.extendVolume(parsed('info', text), io.signal);
      await printed(io, command, { sizeBytes });
    });
  connection
    .command('disk')
    .description("print libvirt's disk element for a volume that was connected")
    .argument('<info>', 'what `connection connect` printed')
    .argument('<disk>', 'JSON object: dev (vda), bus (virtio) and, if wanted, boot_index')
    .action(async (text: string, diskText: string, _options, command: Command) => {
      const driver = await driverFor(io, command, text);
      const xml = driver.getConfig(parsed('info', text), parsed('disk', diskText));
      await contextOf(io, command).print({ xml }, () => `${xml}\n`);
    });
  connection
    .command('paths')
    .description('the paths below which a volume is a block device of this host now')
    .argument(...infoArgument)
    .action(async (text: string, _options, command: Command) => {
      const connector = await connectorFor(io, command);
      const { data } = parsed('info', text);
      await printed(io, command, { paths: connector.getVolumePaths(data) });
    });
  connection
    .command('properties')
    .description('what this host is to the storage; nothing where the daemon does not run')
    .action(async (_options, command: Command) => {
      const connector = await connectorFor(io, command);
      await printed(io, command, await connector.getConnectorProperties(io.signal));
    });
}

/** The driver for the type that the info names. */
async function driverFor(io: Io, command: Command, text: string) {
  const { volumeDrivers } = await import('../../libvirt/registry.ts');
  return volumeDrivers(connectorOptions(io, command)).driverFor(parsed('info', text));
}

async function connectorFor(io: Io, command: Command) {
  const { Connector } = await import('../../connector/connector.ts');
  return new Connector(connectorOptions(io, command));
}

/** They use the `hscli` beside this one, and the same daemon. */
function connectorOptions(io: Io, command: Command): Partial<ConnectorOptions> {
  const options = command.optsWithGlobals<{ socket?: string }>();
  // Their `hscli` finds the daemon by the environment, which it has from this process.
  if (options.socket !== undefined) io.env.HYPERSCALE_SOCKET = options.socket;
  const socket = io.env.HYPERSCALE_SOCKET ?? defaultSocket;
  const { seconds } = contextOf(io, command);
  return {
    program: join(import.meta.dirname, '../../../bin/hscli'),
    timeoutSeconds: seconds === 0 ? longestSeconds : Math.max(1, seconds),
    lockDirectory: join(dirname(socket), 'locks'),
    deviceDirectory: io.env.HYPERSCALE_DEVICES ?? '/dev',
  };
}

/** What the connector takes for "as long as it takes": a day. */
const longestSeconds = 86_400;

function parsed(what: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  throw new HyperscaleError('bad-input', `the ${what} ${JSON.stringify(shown)} is no JSON object`, {
    hint: 'docs/libvirt.md shows one.',
  });
}

/** It is for programs: JSON with --json and without. */
async function printed(io: Io, command: Command, answer: object): Promise<void> {
  await contextOf(io, command).print(answer, () => `${JSON.stringify(answer)}\n`);
}

import { Command, CommanderError } from 'commander';
import { HyperscaleError } from '../errors.ts';
import { backupCommands } from './commands/backup.ts';
import { clusterCommands } from './commands/cluster.ts';
import { connectionCommands } from './commands/connection.ts';
import { eventCommands } from './commands/events.ts';
import { imageCommands } from './commands/image.ts';
import { nodeCommands } from './commands/node.ts';
import { policyCommands } from './commands/policy.ts';
import { snapshotCommands } from './commands/snapshot.ts';
import { spaceCommands } from './commands/space.ts';
import { vmCommands } from './commands/vm.ts';
import { volumeCommands } from './commands/volume.ts';
import { defaultTimeoutSeconds, type Io } from './context.ts';
import { exitStatusHelp, failureOf } from './failure.ts';
import { defaultSocket } from './socket-error.ts';
import { vmMoveCommands } from './vm-move.ts';

const badUsage = 2;

/**
 * Runs one command line.
 * @param args without the names of node and script.
 * @returns the exit status, after everything was written.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const program = programFor(io);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      return 0;
    }
    if (error instanceof CommanderError && error.code === 'commander.help') {
      return badUsage;
    }
    const failure = failureOf(
      error instanceof CommanderError ? usageError(error) : error,
      args.includes('--json'),
    );
    io.stderr.write(failure.text);
    return failure.exit;
  }
}

function programFor(io: Io): Command {
  const program = new Command('hscli')
    .description('Controls HyperScale: replicated block storage on the disks of its nodes.')
    .option('--json', 'print JSON for programs; errors go to stderr as JSON too')
    .option('--socket <path>', `socket of the daemon (or HYPERSCALE_SOCKET; ${defaultSocket})`)
    .option(
      '--timeout <seconds>',
      `wait at most so long for an answer, 0 for ever (${defaultTimeoutSeconds})`,
    )
    .addHelpText(
      'after',
      `
Examples:
  hscli cluster status
  hscli volume create db1 --size 10G --policy Silver
  hscli volume attach db1             prints the NBD URI for a consumer on this node
  hscli volume show db1 --watch       where its copies are, and what is being mended
  hscli snapshot create db1            keeps what it holds now
  hscli vm attach web1 db1             gives it to a running guest as one more disk
  hscli events --follow

${exitStatusHelp()}`,
    );
  clusterCommands(program, io);
  nodeCommands(program, io);
  policyCommands(program, io);
  spaceCommands(program, io);
  volumeCommands(program, io);
  snapshotCommands(program, io);
  imageCommands(program, io);
  backupCommands(program, io);
  vmCommands(program, io);
  eventCommands(program, io);
  vmMoveCommands(program, io);
  connectionCommands(program, io);
  teach(program, io);
  return program;
}

/** Errors of usage are thrown, and printed by us, in every command below. */
function teach(command: Command, io: Io): void {
  command
    .exitOverride()
    .helpCommand(false)
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined,
    });
  for (const child of command.commands) {
    teach(child, io);
  }
}

function usageError(error: CommanderError): HyperscaleError {
  const [message = '', ...more] = error.message.replace(/^error: /, '').split('\n');
  const suggestion = more
    .join(' ')
    .trim()
    .replace(/^\(|\)$/g, '');
  return new HyperscaleError('bad-input', message, {
    hint: suggestion === '' ? 'See --help.' : suggestion,
  });
}

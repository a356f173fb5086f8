import type { Command } from 'commander';
import type { EvacuatedAnswer, MigratedAnswer, MigrationAnswer } from '../api/vm-move-schemas.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type Context, contextOf, type Io } from './context.ts';
import { type Column, table } from './format.ts';
import { withProgress } from './progress.ts';
import { formatBytes } from './size.ts';

/** After Ctrl-C, until it is known where the guest is. */
const cancelSeconds = 60;

type MigrateOptions = { to?: string; live?: true; cancel?: true };

/** `hscli vm migrate`. */
function migrateCommand(vm: Command, io: Io): void {
  vm.command('migrate')
    .description('move a running guest to another node; its volumes follow')
    .argument('<vm>', 'name or UUID of the libvirt domain')
    .option('--live', 'while it runs (there is no other way)')
    .option('--to <node>', 'the node to move to')
    .option('--cancel', 'cancel a migration that is under way; the guest stays where it is')
    .addHelpText(
      'after',
      '\nEverything that the guest has must be on volumes. Ctrl-C cancels it too. Waits for ever unless\n' +
        '--timeout says how long.\n' +
        '\nExamples:\n  hscli vm migrate web1 --live --to n2\n  hscli vm migrate web1 --cancel',
    )
    .action(async (name: string, options: MigrateOptions, command: Command) => {
      if (options.cancel === true) return cancelMigration(contextOf(io, command), name);
      if (options.live !== true || options.to === undefined) {
        throw new HyperscaleError('bad-input', 'vm migrate needs --live and --to NODE', {
          hint: 'A guest that is shut off is moved with libvirt: virsh define on the other node.',
        });
      }
      const context = contextOf(io, command, 0);
      try {
        const migrated = await migrate(context, name, options.to);
        await context.print(migrated, migratedText);
      } catch (error) {
        if (!io.signal.aborted) throw error;
        const late = AbortSignal.timeout(cancelSeconds * 1_000);
        throw await cancelled(contextOf({ ...io, signal: late }, command), name);
      }
    });
}

async function cancelMigration(context: Context, name: string): Promise<void> {
  const { outcome } = await context.client.cancelMigration(name);
  await context.print({ name, outcome }, () =>
    outcome === 'stayed'
      ? `Cancelled; ${name} runs where it ran.\n`
      : `It was too late: ${name} has moved.\n`,
  );
}

function migrate(context: Context, name: string, to: string): Promise<MigratedAnswer> {
  const { client } = context;
  const describe = async () => {
    // How far it is matters less than that it goes on.
    const answer = await client.migration(name).catch(() => ({ migration: null }));
    return progressText(name, answer);
  };
  return withProgress(context, describe, () => client.migrate(name, to));
}

/** `Migrating web1 to n2: 43 MiB sent, 120 MiB left`. */
export function progressText(name: string, { migration }: MigrationAnswer): string {
  if (migration === null) return `Migrating ${name} …`;
  const { to, step, sent } = migration;
  const how = {
    queued: 'others go first',
    attaching: `its volumes are being attached on ${to}`,
    sending:
      sent === null
        ? 'libvirt prepares'
        : `${formatBytes(sent.sentBytes)} sent, ${formatBytes(sent.remainingBytes)} left`,
    clearing: 'attachments are being cleared up',
  }[step];
  return `Migrating ${name} to ${to}: ${how}`;
}

/** `web1 runs on n2 now. It took 4.2 s and stood still for 55 ms.` */
export function migratedText(migrated: MigratedAnswer): string {
  const { name, to, tookMs, downtimeMs, notes } = migrated;
  const still = downtimeMs === null ? '' : ` and stood still for ${downtimeMs} ms`;
  const more = notes.map((note) => `${note}\n`).join('');
  return `${name} runs on ${to} now. It took ${(tookMs / 1_000).toFixed(1)} s${still}.\n${more}`;
}

/** What to say after Ctrl-C: the daemon cancels by itself when its caller goes. */
async function cancelled(context: Context, name: string): Promise<HyperscaleError> {
  try {
    const { outcome } = await context.client.cancelMigration(name);
    const what = outcome === 'stayed' ? 'it runs where it ran' : 'but too late: it has moved';
    return new HyperscaleError('cancelled', `cancelled: ${name}, ${what}`);
  } catch (error) {
    if (!isHyperscaleError(error)) throw error;
    const text = error.code === 'not-found' ? 'its migration has ended' : error.message;
    return new HyperscaleError('cancelled', `cancelled: ${name}, ${text}`, {
      hint: 'See where it runs with: hscli vm list --cluster',
    });
  }
}

const columns: Column<EvacuatedAnswer['vms'][number]>[] = [
  { title: 'NAME', value: (v) => v.name },
  { title: 'OUTCOME', value: (v) => v.outcome },
  { title: 'NODE', value: (v) => v.to ?? '-' },
  { title: 'UUID', value: (v) => v.uuid },
  { title: 'REASON', value: (v) => v.reason ?? '-' },
];

/** `hscli vm evacuate`. */
function evacuateCommand(vm: Command, io: Io): void {
  vm.command('evacuate')
    .description('start the guests of a dead node on live ones, with their volumes')
    .argument('<node>', 'the node that is down')
    .option('--to <node>', 'start all of them there (default: spread over the live nodes)')
    .option('--vm <vm>', 'only this guest')
    .addHelpText(
      'after',
      '\nRefused while the node is up. Its old guests are shut out from their volumes before the new\n' +
        'ones start, and removed when it returns. It may be run again at any time: what was interrupted\n' +
        'goes on. Guests that were shut off are only defined. Exit status 6 when a guest failed.\n' +
        '\nExamples:\n  hscli vm evacuate n1\n  hscli vm evacuate n1 --to n2 --vm web1',
    )
    .action(async (node: string, options: { to?: string; vm?: string }, command: Command) => {
      const context = contextOf(io, command, 0);
      const done = await context.client.evacuate(node, options);
      await context.print(done, ({ vms }) =>
        table(vms, columns, `No guests of ${node} are recorded.`),
      );
      const failed = done.vms.filter((v) => v.outcome === 'failed');
      if (failed.length === 0) return;
      const names = failed.map((v) => v.name).join(', ');
      throw new HyperscaleError('unavailable', `not evacuated: ${names}`, {
        hint: `See to the reasons, then run this again: hscli vm evacuate ${node}`,
      });
    });
}

/** Adds both to `hscli vm`, making it when it is not there. */
export function vmMoveCommands(program: Command, io: Io): void {
  const vm =
    program.commands.find((command) => command.name() === 'vm') ??
    program.command('vm').description('libvirt guests with volumes as disks');
  migrateCommand(vm, io);
  evacuateCommand(vm, io);
}

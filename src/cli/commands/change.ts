import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { VolumeAnswer } from '../../api/schemas.ts';
import { HyperscaleError } from '../../errors.ts';
import { type Context, contextOf, type Io } from '../context.ts';
import { type EpisodeOptions, episodeOptions, givenPlan, planText } from '../episode-options.ts';
import { withProgress } from '../progress.ts';

const lookMs = 500;

const which: [string, string] = ['<volume>', 'name or id of the volume'];

/** `hscli volume rename`, `retype`, `set` and `flatten`. */
export function changeCommands(volume: Command, io: Io): void {
  volume
    .command('rename')
    .description('give a volume another name, while it is used too; its id stays')
    .argument(...which)
    .argument('<name>', 'the new name')
    .addHelpText('after', '\nExample:\n  hscli volume rename db1 db1-old')
    .action(async (name: string, to: string, _options, command: Command) => {
      const { client, print } = contextOf(io, command);
      await print(await client.change(name, { name: to }), (v) => `It is called ${v.name} now.\n`);
    });
  volume
    .command('retype')
    .description('give a volume another policy, while it is used too')
    .argument(...which)
    .requiredOption('--policy <policy>', 'Gold, Silver, Bronze')
    .addHelpText(
      'after',
      '\nCopies are made or dropped in the background: see hscli volume show. Limits that the volume\n' +
        'has of its own stay: see hscli volume qos.\n' +
        '\nExample:\n  hscli volume retype db1 --policy Gold',
    )
    .action(async (name: string, { policy }: { policy: string }, command: Command) => {
      const { client, print } = contextOf(io, command);
      await print(
        await client.change(name, { policy }),
        (v) => `Volume ${v.name} has policy ${v.policy.name} now. ${v.summary}\n`,
      );
    });
  const set = volume
    .command('set')
    .description('note something about a volume, or say how often it is backed up')
    .argument(...which)
    .option('--meta <key=value>', 'note this; may be given several times', noted, {})
    .option('--forget <key>', 'forget this note; may be given several times', forgotten, {});
  episodeOptions(set)
    .addHelpText(
      'after',
      '\nThe calendar is UTC. Only backups that the plan made are removed by it; --episode off removes none.\n' +
        '\nExamples:\n  hscli volume set db1 --meta owner=anna --meta tier=2 --forget ticket\n' +
        '  hscli volume set db1 --episode 15m --backup-target nas --keep-last 96 --keep-daily 14',
    )
    .action(async (name: string, options: { meta: Notes; forget: Notes } & EpisodeOptions) => {
      const { client, print } = contextOf(io, set);
      const metadata = { ...options.meta, ...options.forget };
      const before = hasPlan(options) ? (await client.backups.ofVolume(name)).plan : null;
      const plan = givenPlan(options, before);
      if (Object.keys(metadata).length === 0 && plan === undefined) {
        throw new HyperscaleError('bad-input', 'nothing is to be noted', {
          hint: 'Give --meta KEY=VALUE, --forget KEY or --episode TIME.',
        });
      }
      const changed = await client.change(name, {
        ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
        ...(plan === undefined ? {} : { episodes: plan }),
      });
      await print(changed, (v) =>
        plan === undefined ? notesText(v) : `Volume ${v.name} is backed up: ${planText(plan)}.\n`,
      );
    });
  volume
    .command('flatten')
    .description('copy all that a clone shares into it, so that it needs nothing of others')
    .argument(...which)
    .option('--cancel', 'give up a flatten that is under way')
    .option('--no-wait', 'do not wait until it is done')
    .addHelpText(
      'after',
      '\nIt goes on in the background, while the volume is used too; Ctrl-C ends only the waiting.\n' +
        '\nExamples:\n  hscli volume flatten web1\n  hscli volume flatten web1 --cancel',
    )
    .action(async (name: string, options: { cancel?: true; wait: boolean }, command: Command) => {
      const context = contextOf(io, command);
      if (options.cancel === true) {
        const kept = await context.client.cancelFlatten(name);
        return context.print(kept, (v) => `Volume ${v.name} is not being flattened.\n`);
      }
      const begun = await context.client.flatten(name);
      const last = options.wait ? await untilFlat(context, begun) : begun;
      await context.print(last, flattenedText);
    });
}

/** True when something is said about backups. */
function hasPlan({ meta, forget, ...plan }: { meta: Notes; forget: Notes } & EpisodeOptions) {
  return Object.values(plan).some((value) => value !== undefined);
}

type Notes = Record<string, string | null>;

function noted(text: string, before: Notes): Notes {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It looks like KEY=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function forgotten(key: string, before: Notes): Notes {
  return { ...before, [key]: null };
}

function notesText({ name, metadata }: VolumeAnswer): string {
  const lines = Object.entries(metadata).map(([key, value]) => `  ${key}=${value}\n`);
  return lines.length === 0
    ? `Nothing is noted about ${name}.\n`
    : `Noted about ${name}:\n${lines.join('')}`;
}

function flattenedText({ name, parent, flattening }: VolumeAnswer): string {
  if (parent === null) return `Volume ${name} needs nothing of others.\n`;
  return flattening === null
    ? `Volume ${name} is not being flattened any more.\n`
    : `Volume ${name} is being flattened on ${flattening}: hscli volume show ${name}\n`;
}

/** Looks until nothing is shared, or somebody gave it up. */
async function untilFlat(context: Context, begun: VolumeAnswer): Promise<VolumeAnswer> {
  const { client, io } = context;
  let now = begun;
  const work = async () => {
    while (now.parent !== null && now.flattening !== null) {
      await delay(lookMs, null, { signal: io.signal });
      now = await client.volume(begun.id);
    }
    return now;
  };
  return withProgress(context, async () => progressText(now), work);
}

function progressText({ name, flattening, sharedLayers, report }: VolumeAnswer & Shown): string {
  const doing = report?.work.map(({ what }) => what).join(' ') ?? '';
  return `Flattening ${name} on ${flattening}, ${sharedLayers} shared layers. ${doing}`;
}

type Shown = { report?: { work: { what: string }[] } };

import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { DrainAnswer } from '../api/drain-schemas.ts';
import type { VmAnswer } from '../api/vm-schemas.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { type Context, contextOf, type Io } from './context.ts';
import { operatorName } from './force.ts';
import { formatList, printable } from './format.ts';
import { withProgress } from './progress.ts';
import { formatBytes } from './size.ts';

const lookMs = 500;
/** What rests is looked at so often before it is believed: a node may be away for a moment. */
const looksAtRest = 4;

type Options = { partial?: boolean; wait: boolean };

/** `hscli node drain` and `hscli node undrain`. */
export function drainCommands(node: Command, io: Io): void {
  node
    .command('drain')
    .description('let everything leave a node, and nothing new go there')
    .argument('<name>', 'name of the node')
    .option('--partial', 'also when not everything can leave it; the rest stays as it is')
    .option('--no-wait', 'do not wait until it is done')
    .addHelpText(
      'after',
      '\nCopies are made elsewhere first, then dropped: no volume ever has fewer. Guests stay: move them\n' +
        'with hscli vm migrate. Run it again to see how far it is. After Ctrl-C it goes on; hscli node\n' +
        'undrain ends it. Waits for ever unless --timeout says how long. Exit status 6 when all that is\n' +
        'left waits for somebody.\n' +
        '\nExamples:\n  hscli node drain n3\n  hscli node drain n3 --no-wait',
    )
    .action(async (name: string, options: Options, command: Command) => {
      const context = contextOf(io, command, 0);
      const { client } = context;
      const by = operatorName(io.env);
      const begun = await client.drain(name, { partial: options.partial === true, by });
      if (!options.wait) return context.print(begun, begunText);
      const done = await waited(context, begun);
      await context.print(done, reportText);
      if (done.state === 'waiting') throw await unfinished(context, done);
    });
  node
    .command('undrain')
    .description('end the drain of a node; what has left it does not come back')
    .argument('<name>', 'name of the node')
    .addHelpText('after', '\nExample:\n  hscli node undrain n3')
    .action(async (name: string, _options, command: Command) => {
      const context = contextOf(io, command);
      await context.print(
        await context.client.undrain(name),
        ({ node: drained }) => `Node ${drained} takes copies again.\n`,
      );
    });
}

async function waited(context: Context, begun: DrainAnswer): Promise<DrainAnswer> {
  const { client, io, seconds } = context;
  const { node } = begun;
  const limit = seconds === 0 ? [] : [AbortSignal.timeout(seconds * 1_000)];
  const signal = AbortSignal.any([io.signal, ...limit]);
  let now = begun;
  const untilAtRest = async () => {
    for (let rests = 0; ; ) {
      now = await client.drainOf(node);
      if (now.state === 'drained') return now;
      if (now.state === 'none') throw new HyperscaleError('conflict', `the drain was ended`);
      rests = now.state === 'waiting' ? rests + 1 : 0;
      if (rests >= looksAtRest) return now;
      await delay(lookMs, null, { signal });
    }
  };
  try {
    return await withProgress(context, async () => progressText(now), untilAtRest);
  } catch (error) {
    const hint = `The drain goes on. How far it is: hscli node drain ${node}. To end it: hscli node undrain ${node}`;
    if (io.signal.aborted) throw new HyperscaleError('cancelled', 'waited no longer', { hint });
    const late = signal.aborted || isHyperscaleError(error, 'timeout');
    if (late) throw new HyperscaleError('timeout', `${leftText(now)} after ${seconds} s`, { hint });
    throw error;
  }
}

/** `Draining n3: 12 copies, 3.4 GiB left`. */
export function progressText(drain: DrainAnswer): string {
  return `Draining ${drain.node}: ${leftText(drain)}`;
}

function leftText({ copies, bytes, writing, files, attached }: DrainAnswer): string {
  const parts = [
    copies > 0 ? `${counted(copies, 'copy', 'copies')} (${formatBytes(bytes)})` : '',
    writing > 0 ? `${counted(writing, 'layer', 'layers')} being written` : '',
    files > 0 ? `${counted(files, 'old file', 'old files')} to be deleted` : '',
    attached.length > 0 ? counted(attached.length, 'attached volume', 'attached volumes') : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'nothing left' : `${parts.join(', ')} left`;
}

const counted = (count: number, one: string, many: string) =>
  `${count} ${count === 1 ? one : many}`;

function begunText(drain: DrainAnswer): string {
  if (drain.state === 'drained') return reportText(drain);
  return `Node ${drain.node} is being drained: ${leftText(drain)}. How far it is: hscli node drain ${drain.node}\n`;
}

function reportText(drain: DrainAnswer): string {
  const { node, state, obstacles, attached } = drain;
  if (state === 'drained') {
    return `Node ${node} is drained: no volume has anything there.\nIt stays so until: hscli node undrain ${node}\n`;
  }
  const lines = [
    `Node ${node} is not empty: ${leftText(drain)}.`,
    ...(attached.length === 0 ? [] : [`Attached there: ${formatList(attached)}`]),
    ...obstacles.map((o) => `${o.volume} cannot leave: ${o.why}`),
  ];
  return `${lines.map(printable).join('\n')}\n`;
}

async function unfinished(context: Context, drain: DrainAnswer): Promise<HyperscaleError> {
  const { node, attached, obstacles } = drain;
  const steps: string[] = [];
  if (attached.length > 0) {
    const guests = await guestsOn(context, drain);
    steps.push(...guests.map((guest) => `hscli vm migrate ${guest.name} --live --to NODE`));
    const used = guests.flatMap((guest) => guest.disks.map((disk) => disk.name));
    const rest = attached.filter((volume) => !used.includes(volume));
    steps.push(...rest.map((attachment) => detachStep(attachment, node)));
  }
  if (obstacles.length > 0) steps.push('add nodes or space');
  return new HyperscaleError('unavailable', `what is left on ${node} waits for you`, {
    hint: `${steps.join('; ')}. The drain goes on by itself.`,
    values: { ...drain },
  });
}

/** What ends an attachment: of a snapshot it is called `VOLUME@SNAPSHOT:…`, of an export `VOLUME@…`. */
function detachStep(attachment: string, node: string): string {
  const [of = '', ...rest] = attachment.split(':');
  if (!of.includes('@')) return `hscli volume detach ${of} --node ${node}`;
  if (rest.length > 0) return `hscli snapshot detach ${of} --node ${node}`;
  return `wait for the export of ${of.split('@')[0]}`;
}

/** Guests on the node with volumes; none where libvirt cannot be asked. */
async function guestsOn({ client }: Context, { node }: DrainAnswer): Promise<VmAnswer[]> {
  const { vms } = await client.vms('cluster').catch(() => ({ vms: [] }));
  return vms.filter((vm) => vm.node === node && vm.disks.length > 0);
}

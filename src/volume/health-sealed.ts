import { counted, listed, percent } from './health-text.ts';
import { type Finding, progressOf, type ReportContext, type WorkView } from './health-types.ts';
import type { Replica, Restoring, SealedLayer } from './types.ts';

/** What a sealed layer lacks: at most one finding. */
export function sealedFindings(
  context: ReportContext,
  layer: SealedLayer,
  number: number,
): Finding[] {
  const { wanted, problem } = context;
  const policy = context.volume.policy.name;
  const clean = layer.replicas.filter((r) => r.state === 'clean' && problem(r) === null);
  if (clean.length >= wanted) {
    return [];
  }
  if (layer.restoring !== undefined) return [restoringFinding(context, layer.restoring, number)];
  const mends = context.work.filter((item) => item.kind === 'mend' && item.layer === layer.id);
  const nodes = clean.map((replica) => replica.node);
  const what =
    clean.length === 0
      ? `Layer ${number} has no clean copy on a node that is up.`
      : `Layer ${number} has ${counted(clean.length, 'clean copy', 'clean copies')} ` +
        `(${listed(nodes)}) of the ${wanted} that ${policy} asks for.`;
  return [
    {
      severity: clean.length === 0 ? 'unavailable' : clean.length === 1 ? 'at-risk' : 'degraded',
      what,
      why: reasons(context, layer, clean, mends),
      action: action(context, layer, clean, mends),
      progress: progressOf(mends),
    },
  ];
}

/** Whoever reads it waits for the backup, or for a node that can read it. */
function restoringFinding(context: ReportContext, restoring: Restoring, number: number): Finding {
  const { node, problem: trouble } = restoring;
  const away = context.problem(restoring);
  const served = away === null && trouble === undefined;
  const work = context.work.filter((item) => item.kind === 'restore');
  const progress = progressOf(work);
  return {
    severity: served ? 'at-risk' : 'unavailable',
    what: `Layer ${number} is being restored from a backup on ${node}${percent(progress)}.`,
    why:
      away !== null
        ? `${node} ${away}.`
        : `${trouble ?? 'What is not here yet is read from the backup, and lies nowhere else'}.`,
    action: served
      ? 'Nothing to do; delete the volume to give it up.'
      : 'It is tried again, or another node that has the target takes it over.',
    progress,
  };
}

function reasons(
  { wanted, problem }: ReportContext,
  layer: SealedLayer,
  clean: readonly Replica[],
  mends: readonly WorkView[],
): string {
  const unused = [...mends];
  const lines = layer.replicas
    .filter((replica) => !clean.includes(replica))
    .map((replica) => {
      const trouble = problem(replica);
      return trouble !== null
        ? `${replica.node} ${trouble}`
        : mendText(replica, takeMend(unused, replica), clean.length > 0);
    });
  const missing = wanted - layer.replicas.length;
  if (missing > 0) {
    lines.push(missing === 1 ? '1 copy has no node yet' : `${missing} copies have no node yet`);
  }
  return `${lines.join('; ')}.`;
}

function mendText(replica: Replica, mend: WorkView | undefined, hasSource: boolean): string {
  const { node, state } = replica;
  const progress = mend === undefined ? '' : percent(progressOf([mend]));
  const source = mend?.from ?? null;
  if (state === 'copying') {
    const from = source === null ? '' : ` from ${source}`;
    return mend === undefined
      ? `${node} waits for its copy`
      : `${node} is being filled${from}${progress}`;
  }
  if (replica.damage !== undefined && mend === undefined) {
    return `${node}'s copy was found damaged and waits to be mended`;
  }
  if (mend !== undefined) {
    const other = source === null ? 'a clean one' : `${source}'s`;
    return `${node}'s copy is being compared with ${other}${progress}`;
  }
  return hasSource
    ? `${node}'s copy waits to be compared with a clean one`
    : `${node}'s copy is unverified, and there is no clean one to compare it with`;
}

/** The mend of this replica; where the node is not told, the first that nobody else took. */
function takeMend(mends: WorkView[], replica: Replica): WorkView | undefined {
  const exact = mends.findIndex((item) => item.node === replica.node);
  const index = exact >= 0 ? exact : mends.findIndex((item) => item.node === undefined);
  return index < 0 ? undefined : mends.splice(index, 1)[0];
}

function action(
  { wanted, upCount, problem, called }: ReportContext,
  layer: SealedLayer,
  clean: readonly Replica[],
  mends: readonly WorkView[],
): string {
  const away = layer.replicas.filter((replica) => problem(replica) !== null);
  const names = listed([...new Set(away.map((replica) => replica.node))]);
  if (clean.length === 0) {
    const holders = away.filter((replica) => replica.state === 'clean').map((r) => r.node);
    return holders.length === 0
      ? `Bring back a node that had a clean copy; unverified copies are never used by themselves, only by: hscli volume force ${called}`
      : `Bring ${listed(holders)} back. If that is not possible: hscli volume force ${called}`;
  }
  if (mends.length > 0) {
    return 'Nothing to do: the copies are being made good.';
  }
  if (upCount < wanted) {
    const up = upCount === 1 ? '1 is up' : `${upCount} are up`;
    const what = away.length === 0 ? 'Bring nodes up' : `Bring ${names} back, or add nodes`;
    return `${what}: the policy needs ${wanted} and ${up}.`;
  }
  if (away.length > 0) {
    return `Bring ${names} back; after a while another node takes the copy by itself.`;
  }
  return 'Nothing to do: this is mended by itself.';
}

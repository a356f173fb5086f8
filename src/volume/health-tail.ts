import { consumersOf } from './attachments.ts';
import { counted, listed } from './health-text.ts';
import type { Finding, ReportContext } from './health-types.ts';
import type { RollReason, Tail, UnsealedLayer } from './types.ts';

const reasonText: Record<RollReason, string> = {
  attach: 'the volume is being attached',
  evict: 'a node is taken out of the write set',
  'head-died': 'the process that served the volume died',
  'add-member': 'a node joins the write set',
  localise: "all layers can be read on the head's own node now",
  seal: 'a seal was asked for',
  extend: 'the volume becomes larger',
  merged: 'merged layers are put in place',
  'no-space': 'the pool of a member is almost full',
  drain: 'a member is being drained',
  spread: 'members shared a rack',
  damaged: 'a damaged copy is not read any more, so that it can be mended',
  retype: 'its policy asks for fewer copies',
  'member-unready': 'a member was not ready',
};

/** What is wrong with who may write: at most one finding, and one for each dead attachment. */
export function tailFindings(context: ReportContext): Finding[] {
  const { volume, problem } = context;
  const { tail } = volume;
  const findings: Finding[] = [];
  switch (tail.phase) {
    case 'idle':
      if (volume.attachments.length > 0) {
        const hosts = consumersOf(volume).map((attachment) => attachment.host);
        findings.push({
          severity: 'degraded',
          what: `The volume is attached on ${listed(hosts)} but not served yet.`,
          why: 'No layer is open for writing.',
          action: 'Nothing to do: a layer is opened by itself.',
          progress: null,
        });
      }
      break;
    case 'open':
      findings.push(...openFindings(context, tail.layer));
      break;
    case 'opening':
      findings.push(openingFinding(context, tail));
      break;
    case 'fencing':
      findings.push(fencingFinding(context, tail));
      break;
    case 'deleting':
      return [];
  }
  const writer = writerOf(tail);
  for (const { host, boot } of consumersOf(volume)) {
    const trouble = problem({ node: host, boot });
    if (trouble !== null && host !== writer) {
      findings.push({
        severity: 'degraded',
        what: `The volume is attached on ${host}, which ${trouble}.`,
        why: 'Its consumer there is gone, but nobody has said that it will not come back.',
        action: `If it is gone for good: hscli volume detach ${volume.name} --node ${host}`,
        progress: null,
      });
    }
  }
  return findings;
}

function writerOf(tail: Tail): string | null {
  if (tail.phase === 'open') {
    return tail.layer.writer;
  }
  return tail.phase === 'opening' ? tail.next.writer : null;
}

function openFindings(context: ReportContext, layer: UnsealedLayer): Finding[] {
  const { volume, wanted, upCount, problem } = context;
  const writerTrouble = troubleOfWriter(context, layer);
  if (writerTrouble !== null) {
    return [writerGone(context, layer, writerTrouble)];
  }
  const away = layer.members.filter((member) => problem(member) !== null);
  const live = layer.members.length - away.length;
  const severity = live <= 1 && wanted > 1 ? 'at-risk' : 'degraded';
  if (away.length > 0) {
    const texts = away.map((member) => `${member.node} ${problem(member)}`);
    return [
      {
        severity,
        what: `New data cannot reach ${listed(away.map((m) => m.node))}, so writes may wait.`,
        why: `${texts.join('; ')}.`,
        action: `Nothing to do: ${layer.writer} goes on without as soon as that is recorded.`,
        progress: null,
      },
    ];
  }
  if (layer.members.length >= wanted) {
    return [];
  }
  const names = listed(layer.members.map((member) => member.node));
  const enough = upCount >= wanted;
  return [
    {
      severity,
      what:
        `New data is written to ${counted(layer.members.length, 'node', 'nodes')} (${names}) ` +
        `of the ${wanted} that ${volume.policy.name} asks for.`,
      why: enough
        ? 'No other node with room has joined the write set yet.'
        : `Only ${counted(upCount, 'node is', 'nodes are')} up.`,
      action: enough
        ? 'Nothing to do: another node joins by itself if one has room.'
        : 'Bring nodes up.',
      progress: null,
    },
  ];
}

/** The writer is a member only where it has a pool with room; it may also write without one. */
function troubleOfWriter(context: ReportContext, layer: UnsealedLayer): string | null {
  const own = layer.members.find((member) => member.node === layer.writer);
  return context.problem(own ?? { node: layer.writer });
}

function writerGone(context: ReportContext, layer: UnsealedLayer, trouble: string): Finding {
  const { volume } = context;
  return {
    severity: volume.attachments.length > 0 ? 'unavailable' : 'degraded',
    what: `${layer.writer}, which writes the volume, ${trouble}.`,
    why: `Its daemon does not answer. A guest there may well go on; no other node may write before it has taken the volume over.`,
    action:
      `If only hyperscaled is down on ${layer.writer}, start it: nothing is interrupted. If the node ` +
      `is lost, attach the volume elsewhere: hscli volume attach ${volume.name} --node NODE`,
    progress: null,
  };
}

function openingFinding(
  context: ReportContext,
  tail: Extract<Tail, { phase: 'opening' }>,
): Finding {
  const trouble = troubleOfWriter(context, tail.next);
  if (trouble !== null) {
    return writerGone(context, tail.next, trouble);
  }
  return {
    severity: 'degraded',
    what: `A new layer is being opened on ${tail.next.writer}.`,
    why: `${reasonText[tail.reason].charAt(0).toUpperCase()}${reasonText[tail.reason].slice(1)}.`,
    action: 'Nothing to do: this takes a moment.',
    progress: null,
  };
}

/**
 * A take-over ends when one member that did not reboot answers, or when all members answer
 * (protocol review, rule 6).
 */
function fencingFinding(
  context: ReportContext,
  tail: Extract<Tail, { phase: 'fencing' }>,
): Finding {
  const { volume, problem } = context;
  const { members } = tail.unsealed;
  const takerTrouble = problem({ node: tail.taker });
  if (takerTrouble !== null) {
    return {
      severity: 'unavailable',
      what: `${tail.taker}, which was taking the volume over, ${takerTrouble}.`,
      why: 'The take-over goes on only when a node asks for it.',
      action: `Attach the volume elsewhere: hscli volume attach ${volume.name} --node NODE`,
      progress: null,
    };
  }
  const present = members.filter(({ node, pool }) => problem({ node, pool }) === null);
  const sameBoot = members.some((member) => problem(member) === null);
  if (sameBoot || present.length === members.length) {
    return {
      severity: 'degraded',
      what: `${tail.taker} is taking the volume over from ${tail.unsealed.writer}.`,
      why: `${tail.unsealed.writer} was gone while it had the volume open.`,
      action: 'Nothing to do: this takes a few seconds.',
      progress: null,
    };
  }
  const absent = members.filter((member) => !present.includes(member)).map((m) => m.node);
  return {
    severity: 'unavailable',
    what: `${tail.taker} cannot take the volume over from ${tail.unsealed.writer}.`,
    why: `${listed(absent)} may hold acknowledged writes that no node that is up is sure to have.`,
    action: `Bring ${listed(absent)} back. If that is not possible: hscli volume force ${volume.name}`,
    progress: null,
  };
}

import type { Candidate, NodeKnowledge, SilentPool, Situation } from '../cluster/recover-types.ts';
import { errorText } from '../errors.ts';
import { parseSidecar } from '../node/sidecar.ts';
import { laterRevision } from '../store/record-cache.ts';
import type { StoreContent } from '../store/recovery-store.ts';
import type { NodeRecord } from '../volume/types.ts';
import type { NodeFacts } from './facts.ts';

/** What all nodes say that answer, and who does not. */
export type Gathered = { facts: NodeFacts[]; silent: { node: NodeRecord; why: string }[] };

/**
 * Asks every node that this one, the store, or a node that was asked knows of.
 * @param ask rejects when the node does not answer.
 */
export async function gatherFacts(
  here: NodeFacts,
  inStore: readonly NodeRecord[],
  ask: (node: NodeRecord) => Promise<NodeFacts>,
): Promise<Gathered> {
  const facts = new Map([[here.self.name, here]]);
  const failures = new Map<string, { node: NodeRecord; why: string }>();
  const asked = new Set<string>();
  let next = [...here.nodes, ...inStore];
  while (next.length > 0) {
    const fresh = next.filter((node) => {
      const where = JSON.stringify([node.name, node.address, node.apiPort]);
      if (asked.has(where) || node.name === here.self.name) return false;
      asked.add(where);
      return true;
    });
    const answers = await Promise.all(
      fresh.map(async (node) => {
        try {
          const answer = await ask(node);
          if (answer.self.name !== node.name) throw new Error(`${answer.self.name} answers there`);
          facts.set(node.name, answer);
          return answer.nodes;
        } catch (error) {
          failures.set(node.name, { node, why: errorText(error) });
          return [];
        }
      }),
    );
    next = answers.flat();
  }
  const silent = [...failures.values()].filter(({ node }) => !facts.has(node.name));
  return { facts: [...facts.values()], silent };
}

/** What was gathered, as the planning sees it. What cannot be read becomes a finding. */
export function situationOf(
  { facts, silent }: Gathered,
  content: StoreContent,
  /** What was in the store before its identity was claimed for this recovery. */
  before: StoreContent,
): Situation {
  const { clusterId } = before;
  const marks = [...facts.flatMap((f) => f.retired), ...content.retired];
  const retired = [...new Map(marks.map((m) => [m.pool, m])).values()];
  const isRetired = ({ pool }: { pool: string }) => retired.some((r) => r.pool === pool);
  const answered = facts.filter((f) => !isRetired(f.self));
  const findings = content.damaged.map((text) => `in the store: ${text}`);
  const candidates: Candidate[] = content.volumes.map(({ value, revision }) => ({
    node: null,
    clusterId: clusterId ?? '',
    revision,
    volume: value,
  }));
  for (const { self, records } of answered) {
    for (const { volume, text } of records) {
      try {
        candidates.push({ node: self.name, ...parseSidecar(volume, text) });
      } catch (error) {
        findings.push(`on ${self.name}: ${errorText(error)}`);
      }
    }
  }
  const answering = answered.map(({ self }) => self.name);
  const known = knownNodes(facts, content.nodes).filter((n) => !isRetired(n));
  const replaced: SilentPool[] = known
    .filter((n) => answered.some((f) => f.self.name === n.name && f.self.pool !== n.pool))
    .map((n) => ({ node: n.name, pool: n.pool, why: 'it has another pool now' }));
  return {
    store: { clusterId, current: isCurrent(facts, candidates, before) },
    candidates,
    nodes: answered.map(knowledge),
    silent: [
      ...silent
        .filter(({ node }) => !isRetired(node))
        .map(({ node, why }) => ({ node: node.name, pool: node.pool, why })),
      ...replaced,
    ],
    findings,
    records: [
      ...answered.map(({ self }) => registered(self, known)),
      ...known.filter((n) => !answering.includes(n.name)),
    ],
    retired,
  };
}

/** Somebody believes the store, and nobody has seen more of it than it holds. */
function isCurrent(
  facts: readonly NodeFacts[],
  candidates: readonly Candidate[],
  { clusterId, revision, volumeRevisions }: StoreContent,
): boolean {
  const seen = facts.flatMap((f) => f.seen ?? []).filter((s) => s.clusterId === clusterId);
  const kept = candidates.filter((c) => c.node !== null && c.clusterId === clusterId);
  return (
    seen.length > 0 &&
    seen.every((s) => s.setBack !== true && !laterRevision(s.revision, revision)) &&
    kept.every((c) => !laterRevision(c.revision, volumeRevisions.get(c.volume.id) ?? revision))
  );
}

/** One registration for each pool, as it was seen last. */
function knownNodes(facts: readonly NodeFacts[], inStore: readonly NodeRecord[]): NodeRecord[] {
  const all = [...facts.flatMap((f) => f.nodes), ...inStore];
  return [...new Map(all.map((n) => [`${n.name} ${n.pool}`, n])).values()];
}

function registered(self: NodeRecord, known: readonly NodeRecord[]): NodeRecord {
  const before = known.find((n) => n.name === self.name && n.pool === self.pool);
  return { ...self, registeredAt: before?.registeredAt ?? self.registeredAt };
}

function knowledge({ self, boot, layers, fences, burnt }: NodeFacts): NodeKnowledge {
  return {
    name: self.name,
    pool: self.pool,
    boot,
    layers: new Set(layers.map((l) => l.layer)),
    fences: new Map(fences.map((f) => [f.volume, f.epoch])),
    burnt: new Set(burnt),
  };
}

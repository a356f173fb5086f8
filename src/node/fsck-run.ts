import type { FsckReport } from '../api/operator-service.ts';
import { compare, confirmed, suspected, unsettled } from '../cluster/fsck.ts';
import type { FsckFinding, Scene } from '../cluster/fsck-types.ts';
import { containerBytes } from '../engine/layer-files.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { RetiredPool } from '../store/retirement.ts';
import type { Versioned } from '../store/store.ts';
import { loseCopy, stopWaiting } from '../volume/retire.ts';
import type { Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { inspectAll } from './inspect.ts';
import { quarantineHere } from './inspect-quarantine.ts';

/** A daemon brings what it runs in line with a record in less than this, on a busy machine too. */
const betweenLooksMs = 2_000;
/** A volume whose record changes at every one of these looks is not checked. */
const mostLooks = 5;
const quarantineTimeoutMs = 10_000;

type Wanted = { volume: string | null; retired: () => RetiredPool[] };
type Look = { scene: Scene; findings: FsckFinding[]; revisions: Map<string, string> };

/** Compares the records with all nodes that are up; see src/cluster/fsck.ts. */
export async function runFsck(
  agent: Agent,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Omit<FsckReport, 'repaired'>> {
  let first = await look(agent, wanted, new Set());
  for (let looks = 1; ; looks += 1) {
    signal.throwIfAborted();
    const suspicious = suspected(first.findings);
    await new Promise<void>((resolve) => {
      agent.context.environment.after(betweenLooksMs, resolve);
    });
    const second = await look(agent, wanted, suspicious);
    const both = suspected(first.findings, second.findings);
    const changed = await changedSince(agent, first, second, both);
    const findings = confirmed(first.findings, second.findings, changed);
    const moving = [...changed].filter(
      (id) =>
        first.findings.some((f) => f.volume === id) && second.findings.some((f) => f.volume === id),
    );
    if (moving.length === 0 || looks === mostLooks - 1) {
      const { inspections, volumes } = second.scene;
      const notChecked = volumes.filter((v) => moving.includes(v.id)).map(unsettled);
      return {
        nodes: inspections.map((i) => i.node).sort(),
        volumes: volumes.length,
        files: inspections.reduce((sum, i) => sum + i.layers.length, 0),
        findings: [...findings, ...notChecked],
      };
    }
    first = second;
  }
}

/** @param exactly volumes whose records are read past the cache. */
async function look(agent: Agent, wanted: Wanted, exactly: ReadonlySet<string>): Promise<Look> {
  const { store } = agent.context;
  await Promise.all([...exactly].map((id) => store.readVolume(id)));
  const records = store
    .volumes()
    .filter(({ value }) => wanted.volume === null || value.id === wanted.volume);
  const nodes = store.nodes();
  const up = nodes.filter((n) => n.lease !== null).map((n) => n.name);
  const { inspections, silent } = await inspectAll(agent, up, {
    volume: wanted.volume ?? undefined,
  });
  const scene: Scene = {
    volumes: records.map((r) => r.value),
    nodes,
    retired: wanted.retired(),
    inspections,
    silent,
    lengthOf: containerBytes,
  };
  return { scene, findings: compare(scene), revisions: revisionsOf(records) };
}

function revisionsOf(records: readonly Versioned<Volume>[]): Map<string, string> {
  return new Map(records.map(({ value, revision }) => [value.id, revision]));
}

/** Of these volumes, the ones whose record was not the same from the first look to now. */
async function changedSince(
  agent: Agent,
  first: Look,
  second: Look,
  ids: ReadonlySet<string>,
): Promise<Set<string>> {
  const changed = new Set<string>();
  const compareOne = async (id: string) => {
    const now = (await agent.context.store.readVolume(id))?.revision;
    if (first.revisions.get(id) !== now || second.revisions.get(id) !== now) changed.add(id);
  };
  await Promise.all([...ids].map(compareOne));
  return changed;
}

/** Does what is safe about confirmed findings; says what was done, or why it was not. */
export async function repairFindings(
  agent: Agent,
  findings: readonly FsckFinding[],
): Promise<string[]> {
  const done: string[] = [];
  for (const { fix, what } of findings) {
    if (fix === null) continue;
    try {
      const text = await repairOne(agent, fix);
      done.push(`${what} ${text}`);
      agent.context.events.emit('fsck.repaired', `${what} ${text}`, {
        ...('volume' in fix ? { volume: fix.volume } : {}),
      });
    } catch (error) {
      if (!(error instanceof HyperscaleError)) throw error;
      done.push(`${what} NOT REPAIRED: ${errorText(error)}.`);
    }
  }
  return done;
}

async function repairOne(agent: Agent, fix: NonNullable<FsckFinding['fix']>): Promise<string> {
  switch (fix.do) {
    case 'quarantine':
      return putAside(agent, fix.node, fix.path);
    case 'lose-copy': {
      const aside = fix.path === null ? '' : `${await putAside(agent, fix.node, fix.path)} `;
      const { layer, node, pool } = fix;
      await agent.worker(fix.volume).change((v) => loseCopy(v, layer, { node, pool }));
      return `${aside}Repaired: the copy counts no more; another one is made.`;
    }
    case 'retire':
      await agent.worker(fix.volume).change((v) => stopWaiting(v, fix.pool));
      return 'Repaired: they are waited for no longer.';
  }
}

async function putAside(agent: Agent, node: string, path: string): Promise<string> {
  const { self, peers } = agent.context;
  const moved =
    node === self.node
      ? await quarantineHere(agent, path)
      : (await peers.of(node, { timeoutMs: quarantineTimeoutMs }).quarantine({ path })).path;
  return moved === null ? 'It is gone.' : `Moved to ${moved}.`;
}

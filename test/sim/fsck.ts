import type { FsckReport } from '../../src/api/operator-service.ts';
import type { FsckFinding } from '../../src/cluster/fsck-types.ts';
import { unsealedLayer } from '../../src/volume/queries.ts';
import type { Volume } from '../../src/volume/types.ts';
import { inOrder } from './converge.ts';
import type { Random } from './core.ts';
import { simVolumeIds } from './volume-ids.ts';
import type { World } from './world.ts';

const callTimeoutMs = 60_000;
/** In so many histories a check is made at the end. */
const share = 0.3;

/** Something that does not happen by itself, which a check has to find. */
type Damage = Pick<FsckFinding, 'kind' | 'node'> & {
  /** Whether a repair puts it right. */
  isMended: boolean;
  undo(): void;
};

/**
 * The check that operators make (`hscli cluster fsck`): when everything is in order it finds nothing
 * wrong; it finds a damage that is done then, and what it repairs is in order again.
 */
export async function checkFsck(world: World, random: Random): Promise<void> {
  if (!random.chance(share)) return;
  const { checker, core } = world;
  const sound = await fsck(world, random, false);
  const wrong = sound.findings.find((f) => f.severity !== 'note');
  if (wrong !== undefined) checker.fail(`fsck finds, in good order: ${textOf(wrong)}`);
  checker.counts.fscks += 1;
  const done = random.pick(damages)(world, random);
  if (done === null) return;
  core.trace.note('history', `damage: ${done.kind} on ${done.node}`);
  world.count(`damage ${done.kind}`);
  const isIt = ({ kind, node }: FsckFinding) => kind === done.kind && node === done.node;
  const found = await fsck(world, random, false);
  if (!found.findings.some(isIt)) checker.fail(`fsck does not find ${done.kind} on ${done.node}`);
  const left = (await fsck(world, random, true)).findings.find(isIt);
  if (left !== undefined && done.isMended) checker.fail(`fsck repairs not: ${textOf(left)}`);
  done.undo();
  await inOrder(world);
}

async function fsck(world: World, random: Random, repair: boolean): Promise<FsckReport> {
  const outcome = await random
    .pick(world.nodes)
    .ask(callTimeoutMs, ({ operator }, signal) => operator.fsck({ volume: null, repair }, signal));
  if (outcome.ok) return outcome.value;
  return world.checker.fail(`fsck fails: ${String(outcome.error)}`);
}

function textOf({ kind, what, why }: FsckFinding): string {
  return `${kind}: ${what} ${why}`;
}

const nothing = () => undefined;

const damages: readonly ((world: World, random: Random) => Damage | null)[] = [
  copyIsGone,
  fileOfNobody,
  recordIsOlder,
];

/**
 * The file system has lost a file; another copy of the layer is sound, and nobody reads this one. A scrub
 * would find and mend it first.
 */
function copyIsGone(world: World, random: Random): Damage | null {
  const { checker, processes, scrubs } = world;
  if (scrubs) return null;
  const read = new Set(
    processes.heads().flatMap(({ spec }) => spec.sealed.map((s) => s.layer.layer)),
  );
  const copies = world.volumes().flatMap(({ chain }) =>
    chain.flatMap(({ id, replicas }) => {
      const rots = replicas.some((r) => checker.isRotten(r.node, id));
      if (replicas.length < 2 || read.has(id) || rots) return [];
      return replicas.map(({ node }) => ({ node, layer: id }));
    }),
  );
  if (copies.length === 0) return null;
  const { node, layer } = random.pick(copies);
  const { machine } = world.node(node);
  checker.rotted(machine, layer);
  processes.disk(machine).copies.delete(layer);
  return { kind: 'copy-missing', node, isMended: true, undo: nothing };
}

/** A file of a volume that nobody knows. */
function fileOfNobody(world: World, random: Random): Damage {
  const { machine } = random.pick(world.nodes);
  const randomId = () => random.hex(32);
  const key = { volume: simVolumeIds({ randomId })(), layer: randomId(), epoch: 1 };
  const disk = world.processes.disk(machine);
  disk.make(key, 1).onDisk = true;
  return { kind: 'file-unknown', node: machine.name, isMended: true, undo: nothing };
}

/** A node refuses epochs that the record has not come to, as after a store that was set back. */
function recordIsOlder(world: World, random: Random): Damage | null {
  // Its members would be asked to do what they refuse.
  const idle = world.volumes().filter((v: Volume) => unsealedLayer(v) === null);
  if (idle.length === 0) return null;
  const { id, epoch } = random.pick(idle);
  const { machine } = random.pick(world.nodes);
  const { fences } = world.processes.disk(machine);
  const before = fences.get(id);
  fences.set(id, epoch + 9);
  return {
    kind: 'fence-above-record',
    node: machine.name,
    isMended: false,
    undo: () => (before === undefined ? fences.delete(id) : fences.set(id, before)),
  };
}

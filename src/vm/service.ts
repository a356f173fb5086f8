/** The part of a daemon that gives volumes to guests, and calls to that of other nodes. */
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import { diskXml } from '../libvirt/disk-xml.ts';
import { findDomain, listDomains } from '../libvirt/domain.ts';
import type { NodeName } from '../volume/types.ts';
import { attachDisk } from './attach.ts';
import { detachDisk } from './detach.ts';
import { listVms } from './list.ts';
import { isAttachedHere, mustBeFirst, mustBeUnused } from './use.ts';
import type { VmContext } from './vm-context.ts';
import type { Problem, VmDisks, VmDisksHere, VmList, VmPlace } from './vms.ts';

/** How long another node may take to say what it has. */
const askTimeoutMs = 10_000;
/** How long a change on another node may take, besides the wait for the guest. */
const changeTimeoutMs = 180_000;
const undoTimeoutMs = 60_000;

export class VmService implements VmDisks {
  readonly here: VmDisksHere;
  readonly #context: VmContext;

  constructor(context: VmContext) {
    this.#context = context;
    this.here = this.#createHere();
  }

  readonly list: VmDisks['list'] = async (cluster) => {
    const { self, others } = this.#context;
    // Who asks for this node alone is told why not.
    if (!cluster) return { vms: await listVms(this.#context), missing: [] };
    const answers = [self.node, ...others()].map(async (node): Promise<VmList> => {
      try {
        return await this.#on(node, askTimeoutMs).list();
      } catch (error) {
        return { vms: [], missing: [{ node, reason: errorText(error) }] };
      }
    });
    const all = await Promise.all(answers);
    return { vms: all.flatMap((a) => a.vms), missing: all.flatMap((a) => a.missing) };
  };

  readonly attach: VmDisks['attach'] = async (vm, volume, options, signal) => {
    const { id } = this.#context.volumes.get(volume);
    const { node, uuid } = await this.#locate(vm);
    const request = { uuid, volume: id, ...options };
    return this.#on(node, changeTimeoutMs, signal).attachDisk(request, signal);
  };

  readonly detach: VmDisks['detach'] = async (vm, volume, guestMs, signal) => {
    const { id } = this.#context.volumes.get(volume);
    const { node, uuid } = await this.#locate(vm);
    const request = { uuid, volume: id, guestMs };
    return this.#on(node, changeTimeoutMs + guestMs, signal).detachDisk(request, signal);
  };

  readonly defineDisk: VmDisks['defineDisk'] = async (nameOrId, wishes, signal) => {
    const { queue, volumes, self } = this.#context;
    const { id } = volumes.get(nameOrId);
    return queue.run(id, async () => {
      const volume = await volumes.read(id);
      await mustBeUnused(this.#context, volume, null);
      const wasAttached = isAttachedHere(this.#context, volume);
      const { socket, session } = await volumes.attach(volume.id, signal);
      const { target = 'vda', bus = 'virtio', ...rest } = wishes;
      const source = { type: 'network', socket, export: session } as const;
      try {
        await mustBeFirst(this.#context, volume.id);
        const xml = diskXml({ serial: volume.id, target, bus, source, ...rest });
        return { node: self.node, volume: volume.id, name: volume.name, xml };
      } catch (error) {
        if (!wasAttached) await volumes.detach(volume.id, AbortSignal.timeout(undoTimeoutMs));
        throw error;
      }
    });
  };

  #createHere(): VmDisksHere {
    const context = this.#context;
    const { queue, self, virsh, volumes } = context;
    /** One change of a guest at a time, and of a volume's use: who comes second sees the first. */
    const alone = <T>(uuid: string, volume: string, work: () => Promise<T>): Promise<T> =>
      queue.run(uuid, () => queue.run(volume, work));
    return {
      find: async (vm) => {
        const found = await unlessAbsent(() => findDomain(virsh, vm));
        if (found.problem !== null || found.value === undefined) {
          return { place: null, problem: found.problem };
        }
        const active = await listDomains(virsh, 'active');
        const { uuid, name } = found.value;
        const place = { node: self.node, uuid, name, active: active.some((d) => d.uuid === uuid) };
        return { place, problem: null };
      },
      list: async () => {
        const { value = [], problem } = await unlessAbsent(() => listVms(context));
        const { node } = self;
        return { vms: value, missing: problem === null ? [] : [{ node, reason: problem.reason }] };
      },
      attachDisk: ({ uuid, volume, ...wishes }, signal) =>
        alone(uuid, volume, async () =>
          attachDisk(context, uuid, await volumes.read(volume), wishes, signal),
        ),
      detachDisk: ({ uuid, volume, guestMs }, signal) =>
        alone(uuid, volume, async () =>
          detachDisk(context, uuid, await volumes.read(volume), guestMs, signal),
        ),
    };
  }

  #on(node: NodeName, timeoutMs: number, signal?: AbortSignal): VmDisksHere {
    const { self, far } = this.#context;
    if (node === self.node) return this.here;
    return far(node, { timeoutMs, ...(signal === undefined ? {} : { signal }) });
  }

  /**
   * The node that has the domain: where it runs, else where it is defined. A node that does not
   * answer is left out, unless nothing is found without it.
   */
  async #locate(vm: string): Promise<VmPlace> {
    const { self, others } = this.#context;
    const problems: Problem[] = [];
    const ask = async (node: NodeName): Promise<VmPlace[]> => {
      const { place, problem } = await this.#on(node, askTimeoutMs)
        .find(vm)
        .catch((error: unknown) => ({ place: null, problem: problemOf(error) }));
      if (problem !== null) problems.push(problem);
      return place === null ? [] : [place];
    };
    const nodes = [self.node, ...others()];
    const found = (await Promise.all(nodes.map(ask))).flat();
    const active = found.filter((place) => place.active);
    const candidates = active.length > 0 ? active : found;
    const [first, second] = candidates;
    if (first === undefined) throw noSuchDomain(vm, problems, nodes.length);
    if (second === undefined) return first;
    const where = candidates.map(({ node }) => node).sort();
    throw new HyperscaleError(
      'conflict',
      `domain ${JSON.stringify(vm)} is on ${where.join(' and ')}`,
      {
        hint: 'Name it by its UUID (virsh domuuid), or undefine the one that is not needed.',
        values: { vm, nodes: where },
      },
    );
  }
}

/** A node without libvirt is no failure where all nodes are asked. */
async function unlessAbsent<T>(
  work: () => Promise<T>,
): Promise<{ value?: T; problem: Problem | null }> {
  try {
    return { value: await work(), problem: null };
  } catch (error) {
    if (isHyperscaleError(error, 'unavailable')) return { problem: problemOf(error) };
    throw error;
  }
}

function problemOf(error: unknown): Problem {
  const hint = error instanceof HyperscaleError ? (error.hint ?? null) : null;
  return { reason: errorText(error), hint };
}

function noSuchDomain(vm: string, problems: readonly Problem[], nodes: number): HyperscaleError {
  const [first] = problems;
  const told = problems.map(({ reason }) => reason).join('; ');
  // Where no node has a libvirt, that is what is wrong, and not the name.
  if (first !== undefined && problems.length === nodes) {
    return new HyperscaleError(
      'unavailable',
      told,
      first.hint === null ? {} : { hint: first.hint },
    );
  }
  const message = `there is no domain ${JSON.stringify(vm)} on any node that answered`;
  return new HyperscaleError('not-found', told === '' ? message : `${message} (${told})`, {
    hint: 'List them with: hscli vm list --cluster',
  });
}

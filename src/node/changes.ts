import type { ChangeService } from '../api/change-service.ts';
import { flattenSite } from '../cluster/flatten.ts';
import { HyperscaleError } from '../errors.ts';
import { changeMetadata, type MetadataChange, rename, retype } from '../volume/change.ts';
import { setEpisodePlan } from '../volume/episodes.ts';
import { cancelFlatten, wishFlatten } from '../volume/flatten.ts';
import { assertStep } from '../volume/invariants.ts';
import { layersBelow } from '../volume/lineage.ts';
import { copiesWanted } from '../volume/policy.ts';
import type { EpisodePlan, Policy, Volume } from '../volume/types.ts';
import type { Agent } from './agent.ts';
import { assertTarget } from './backup-target.ts';
import { findVolume } from './find-volume.ts';
import { assertRoomForPolicy } from './room-for-volume.ts';

type Change = {
  name?: string;
  policy?: Policy;
  metadata?: MetadataChange;
  episodes?: EpisodePlan | null;
};

/** Others may change the record meanwhile. */
const rounds = 20;

/** Changes of volumes that their consumers do not notice, asked for on this node. */
export class Changes implements ChangeService {
  readonly #agent: Agent;

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  async change(idOrName: string, change: Change): Promise<Volume> {
    const { store, environment, nodes } = this.#agent.context;
    const { id, policy } = findVolume(this.#agent.context.store, idOrName).value;
    if (change.policy !== undefined && copiesWanted(change.policy) > copiesWanted(policy)) {
      assertRoomForPolicy(nodes(), change.policy);
    }
    if (change.episodes != null) assertTarget(nodes(), change.episodes.target);
    for (let round = 0; round < rounds; round += 1) {
      const previous = await store.readVolume(id);
      if (previous === undefined) break;
      const next = changed(previous.value, change);
      if (next === previous.value) return next;
      assertStep(previous.value, next);
      const stamped = { ...next, operation: environment.randomId() };
      const swapped =
        next.name === previous.value.name
          ? await store.swap(previous, stamped)
          : await store.rename(previous, stamped);
      if (swapped !== undefined) return swapped.value;
    }
    throw new HyperscaleError('conflict', `volume ${idOrName} is being changed by others`, {
      hint: 'Try again.',
    });
  }

  async flatten(idOrName: string): Promise<Volume> {
    const { id } = findVolume(this.#agent.context.store, idOrName).value;
    const { store, nodes } = this.#agent.context;
    return this.#agent.worker(id).change((v) => {
      if (v.parent === undefined || v.flatten !== undefined) return v;
      const below = layersBelow(v, (other) => store.volume(other)?.value) ?? [];
      const site = flattenSite(
        v,
        below.map(({ layer }) => layer),
        nodes(),
      );
      if (site !== undefined) return wishFlatten(v, site);
      throw new HyperscaleError('no-space', `no node has room to flatten volume ${v.name}`, {
        hint: 'Free space on a node, or add one.',
      });
    });
  }

  async cancelFlatten(idOrName: string): Promise<Volume> {
    const { id } = findVolume(this.#agent.context.store, idOrName).value;
    return this.#agent.worker(id).change(cancelFlatten);
  }
}

function changed(volume: Volume, { episodes, name, policy, metadata }: Change): Volume {
  const renamed = name === undefined ? volume : rename(volume, name);
  const retyped = policy === undefined ? renamed : retype(renamed, policy);
  const noted = metadata === undefined ? retyped : changeMetadata(retyped, metadata);
  return episodes === undefined ? noted : setEpisodePlan(noted, episodes);
}

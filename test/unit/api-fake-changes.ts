import type { ChangeService } from '../../src/api/change-service.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { changeMetadata, rename, retype } from '../../src/volume/change.ts';
import { setEpisodePlan } from '../../src/volume/episodes.ts';
import { cancelFlatten, wishFlatten } from '../../src/volume/flatten.ts';
import type { Volume } from '../../src/volume/types.ts';

/** Changes of records in memory: the real transitions, with nothing under them. */
export class FakeChanges implements ChangeService {
  readonly #records: Map<string, Volume>;

  constructor(records: Map<string, Volume>) {
    this.#records = records;
  }

  async change(idOrName: string, change: Parameters<ChangeService['change']>[1]) {
    const taken = [...this.#records.values()].find((v) => v.name === change.name);
    if (taken !== undefined) {
      throw new HyperscaleError('exists', `a volume named ${change.name} exists`);
    }
    return this.#change(idOrName, (v) => {
      const renamed = change.name === undefined ? v : rename(v, change.name);
      const retyped = change.policy === undefined ? renamed : retype(renamed, change.policy);
      const { episodes, metadata } = change;
      const noted = metadata === undefined ? retyped : changeMetadata(retyped, metadata);
      return episodes === undefined ? noted : setEpisodePlan(noted, episodes);
    });
  }

  async flatten(idOrName: string) {
    return this.#change(idOrName, (v) => wishFlatten(v, 'n1'));
  }

  async cancelFlatten(idOrName: string) {
    return this.#change(idOrName, cancelFlatten);
  }

  #change(idOrName: string, step: (volume: Volume) => Volume): Volume {
    const found = [...this.#records.values()].find((v) => v.name === idOrName || v.id === idOrName);
    if (found === undefined) throw new HyperscaleError('not-found', `there is no ${idOrName}`);
    const next = step(found);
    this.#records.set(next.id, next);
    return next;
  }
}

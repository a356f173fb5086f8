import { HyperscaleError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { clonesOf } from '../volume/marks.ts';
import type { SnapshotId, Volume } from '../volume/types.ts';
import { viewHost } from '../volume/view.ts';

type Records = Pick<Store, 'volumes' | 'volume' | 'readVolume'>;

/**
 * Views of what a volume holds, as the store has them. The cache may not know yet what another node
 * has just made; then it is noted as a clone in the volume, or in what that goes on from.
 * @param volume as the store has it.
 */
export async function viewsOf(store: Records, volume: Volume): Promise<Volume[]> {
  const known = store.volumes().filter(({ value }) => value.view?.of === volume.id);
  const ids = new Set(known.map(({ value }) => value.id));
  for (let at: Volume | undefined = volume; at !== undefined; ) {
    for (const clone of clonesOf(at)) {
      if (store.volume(clone.volume) === undefined) ids.add(clone.volume);
    }
    at = at.parent === undefined ? undefined : (await store.readVolume(at.parent.volume))?.value;
  }
  const found = await Promise.all([...ids].map((id) => store.readVolume(id)));
  return found
    .flatMap((record) => record?.value ?? [])
    .filter(({ view, tail }) => view?.of === volume.id && tail.phase !== 'deleting');
}

/**
 * For people who delete a snapshot, or a volume with all of them: what is attached in the moment of the
 * delete goes on showing what it shows.
 * @param snapshot null: any of them.
 * @throws `in-use` naming the host
 */
export async function mustNotBeShown(
  store: Records,
  volume: Volume,
  snapshot: SnapshotId | null,
): Promise<void> {
  for (const view of await viewsOf(store, volume)) {
    const shown = view.view?.snapshot;
    const host = viewHost(view);
    if (shown == null || host === undefined) continue;
    if (snapshot !== null && shown.id !== snapshot) continue;
    const { name } = shown;
    throw new HyperscaleError(
      'in-use',
      `snapshot ${name} of ${volume.name} is attached on ${host}`,
      {
        hint: `Detach it first: hscli snapshot detach ${volume.name}@${name} --node ${host}`,
        values: { volume: volume.id, snapshot: shown.id, hosts: [host] },
      },
    );
  }
}

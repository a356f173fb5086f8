import { Type } from 'typebox';
import type { Volume } from '../../volume/types.ts';
import type { App } from '../app.ts';
import { nameFilter, type VolumeFilter, volumeFilter } from '../list-filter.ts';
import { limitIn, maxPage, type Page, pageByKey, pageInOrder } from '../list-page.ts';
import {
  AllSnapshotsQuery,
  nextField,
  SnapshotsQuery,
  type SnapshotsWish,
  VolumesQuery,
  type VolumesWish,
} from '../list-schemas.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape, type VolumeAnswer, VolumeShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { type SnapshotAnswer, SnapshotShape } from '../snapshot-schemas.ts';
import { snapshotViews } from '../snapshot-views.ts';
import { recordsOf, volumeView } from '../views.ts';

const problem = { default: named(ProblemShape) };

/** Lists of volumes and of snapshots, narrowed and in parts. */
export function listRoutes(app: App, service: NodeService): void {
  app.get(
    '/volumes',
    {
      schema: {
        operationId: 'listVolumes',
        summary: 'Volumes by name; images have a list of their own',
        description:
          'All of them, or those that match everything that is asked for. `metadata.KEY=VALUE` in ' +
          'the query: only with this note.',
        tags: ['volumes'],
        querystring: VolumesQuery,
        response: {
          200: Type.Object({ volumes: Type.Array(named(VolumeShape)), ...nextField }),
          ...problem,
        },
      },
    },
    async (request) => {
      const { entries, next } = volumesPage(service, request.query);
      return { volumes: entries, ...(next === undefined ? {} : { next }) };
    },
  );
  app.get(
    '/volumes/:volume/snapshots',
    {
      schema: {
        operationId: 'listSnapshots',
        summary: 'Snapshots of a volume, oldest first, and what each of them holds',
        tags: ['snapshots'],
        params: VolumeParams,
        querystring: SnapshotsQuery,
        response: {
          200: Type.Object({ snapshots: Type.Array(named(SnapshotShape)), ...nextField }),
          ...problem,
        },
      },
    },
    async (request) => {
      const { value } = service.volume(request.params.volume);
      const wanted = snapshotFilter(request.query);
      const found = snapshotViews(value, recordsOf(service).lookup).filter(wanted);
      const { entries, next } = pageInOrder(found, ({ id }) => id, request.query);
      return { snapshots: entries, ...(next === undefined ? {} : { next }) };
    },
  );
  app.get(
    '/snapshots',
    {
      schema: {
        operationId: 'listAllSnapshots',
        summary: 'Snapshots of all volumes, by the names of the volumes, oldest first',
        description: `At most ${maxPage} in one answer.`,
        tags: ['snapshots'],
        querystring: AllSnapshotsQuery,
        response: {
          200: Type.Object({ snapshots: Type.Array(named(SnapshotShape)), ...nextField }),
          ...problem,
        },
      },
    },
    async (request) => {
      const { volume, ...wish } = request.query;
      const ofVolume = nameFilter(volume, 'volume');
      const wanted = snapshotFilter(wish);
      const { lookup } = recordsOf(service);
      const found = service
        .volumes()
        .map(({ value }) => value)
        .filter((v) => v.snapshots !== undefined && ofVolume(v.name))
        .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
        .flatMap((v) => snapshotViews(v, lookup).filter(wanted));
      const page = { ...wish, limit: wish.limit ?? String(maxPage) };
      const { entries, next } = pageInOrder(found, (s) => `${s.volume}/${s.id}`, page);
      return { snapshots: entries, ...(next === undefined ? {} : { next }) };
    },
  );
}

function snapshotFilter(wish: SnapshotsWish): (snapshot: SnapshotAnswer) => boolean {
  const isNamed = nameFilter(wish.name);
  return (snapshot) =>
    isNamed(snapshot.name) &&
    (wish.group === undefined || snapshot.group === wish.group) &&
    (wish.protected === undefined || String(snapshot.protected) === wish.protected);
}

/** Health is found out only of those that the answer may have: it takes most of the time. */
function volumesPage(service: NodeService, query: VolumesWish): Page<VolumeAnswer> {
  const { all, state, limit, after, ...wanted } = query;
  const records = recordsOf(service);
  const fits = volumeFilter(wanted satisfies VolumeFilter, records.nodes);
  const found = service
    .volumes()
    .map(({ value }) => value)
    .filter((v) => v.view === undefined && (all === 'true' || v.role === undefined) && fits(v));
  // One more than asked for: whether there is a next one is told too.
  const most = (limitIn(query) ?? found.length) + 1;
  const views: VolumeAnswer[] = [];
  // A name alone is behind everything that has it.
  const from = after === undefined || after.includes(',') ? after : `${after},~`;
  for (const volume of pageByKey(found, keyOf, { after: from }).entries) {
    if (views.length >= most) break;
    const view = volumeView(volume, records);
    if (state === undefined || view.state === state) views.push(view);
  }
  return pageByKey(views, keyOf, { limit });
}

/** Names of bases need not be unique, so the id comes with it. A comma is before all that names have. */
function keyOf({ name, id }: Pick<Volume, 'name' | 'id'>): string {
  return `${name},${id}`;
}

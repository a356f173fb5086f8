import { calledIn } from '../../volume/marks.ts';
import type { VolumeSpace } from '../../volume/space.ts';
import type { Volume } from '../../volume/types.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { NodeParams, VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape, VolumeShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import {
  ClusterSpaceShape,
  NodeSpaceShape,
  SpaceQuery,
  type VolumeSpaceAnswer,
  VolumeSpaceShape,
} from '../space-schemas.ts';
import { recordsOf, volumeView } from '../views.ts';

const problem = { default: named(ProblemShape) };

/** What takes space, and how much is left. */
export function spaceRoutes(app: App, service: NodeService): void {
  app.get(
    '/space',
    {
      schema: {
        operationId: 'getSpace',
        summary: 'What takes space in the cluster, by node, and how much more can be written',
        tags: ['cluster'],
        querystring: SpaceQuery,
        response: { 200: named(ClusterSpaceShape), ...problem },
      },
    },
    async (request) => {
      const cluster = await service.space.cluster();
      if (request.query.volumes !== 'true') return cluster;
      return { ...cluster, volumes: (await service.space.volumes()).map(view) };
    },
  );
  app.get(
    '/volumes/:volume/space',
    {
      schema: {
        operationId: 'getVolumeSpace',
        summary: 'What a volume takes on which disks, and for what',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(VolumeSpaceShape), ...problem },
      },
    },
    async (request) => view(await service.space.volume(request.params.volume)),
  );
  app.post(
    '/volumes/:volume/compact',
    {
      schema: {
        operationId: 'compactVolume',
        summary: 'Write a volume anew without what it does not show any more, in the background',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(VolumeShape), ...problem },
      },
    },
    async (request, reply) => {
      const volume = await service.space.compact(request.params.volume, clientGone(reply));
      return volumeView(volume, recordsOf(service));
    },
  );
  app.delete(
    '/volumes/:volume/compact',
    {
      schema: {
        operationId: 'cancelCompact',
        summary: 'Give a compact up that is under way; none is fine',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(VolumeShape), ...problem },
      },
    },
    async (request) =>
      volumeView(await service.space.cancelCompact(request.params.volume), recordsOf(service)),
  );
  app.get(
    '/nodes/:name/space',
    {
      schema: {
        operationId: 'getNodeSpace',
        summary: 'What takes the space of a node’s pool',
        tags: ['cluster'],
        params: NodeParams,
        response: { 200: named(NodeSpaceShape), ...problem },
      },
    },
    async (request) => service.space.node(request.params.name),
  );
}

function view({ volume, space }: { volume: Volume; space: VolumeSpace }): VolumeSpaceAnswer {
  return { id: volume.id, name: calledIn(volume), ...space };
}

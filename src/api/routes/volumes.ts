import { Type } from 'typebox';
import { errorText, HyperscaleError } from '../../errors.ts';
import { checkVolumeName, checkVolumeSize } from '../../volume/names.ts';
import { policyNamed } from '../../volume/policy.ts';
import type { Volume } from '../../volume/types.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { DetachQuery } from '../operator-schemas.ts';
import { AttachmentParams, AttachVolume, DeleteQuery, VolumeParams } from '../request-schemas.ts';
import {
  EndpointShape,
  LayerShape,
  named,
  ProblemShape,
  ReportShape,
  VolumeDetailShape,
  VolumeShape,
} from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { CreateVolume, type CreateVolumeRequest } from '../snapshot-schemas.ts';
import { endpointView, recordsOf, volumeDetailView, volumeView } from '../views.ts';
import { wantedLimits } from './qos.ts';

const problem = { default: named(ProblemShape) };
const done = Type.Null({ description: 'Done.' });

/** Volumes and their attachments. */
export function volumeRoutes(app: App, service: NodeService): void {
  const detail = async (idOrName: string) => {
    const { value } = service.volume(idOrName);
    // A report without progress is better than none while a peer does not answer.
    const work = await service.work(true).catch((error: unknown) => {
      app.log.warn({ volume: value.id, error: errorText(error) }, 'work is not known');
      return [];
    });
    return volumeDetailView(value, recordsOf(service), work);
  };
  app.post(
    '/volumes',
    {
      schema: {
        operationId: 'createVolume',
        summary: 'Create a volume, empty or from a volume, a snapshot or an image',
        tags: ['volumes'],
        body: named(CreateVolume),
        response: { 201: named(VolumeShape), ...problem },
      },
      // The same rules as in the schema, but they say what would be right.
      preValidation: async (request) => {
        const body: unknown = request.body;
        if (typeof body === 'object' && body !== null) {
          if ('name' in body && typeof body.name === 'string') {
            checkVolumeName(body.name);
          }
          if ('sizeBytes' in body && typeof body.sizeBytes === 'number') {
            checkVolumeSize(body.sizeBytes);
          }
        }
      },
    },
    async (request, reply) => {
      const { episodes, ...wishes } = request.body;
      const made = await created(service, wishes, clientGone(reply));
      const volume = await planned(service, made, episodes);
      reply.code(201).header('location', `/v1/volumes/${volume.id}`);
      return volumeView(volume, recordsOf(service));
    },
  );
  app.get(
    '/volumes/:volume',
    {
      schema: {
        operationId: 'getVolume',
        summary: 'One volume, with a report in plain words',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(VolumeDetailShape), ...problem },
      },
    },
    async (request) => detail(request.params.volume),
  );
  app.delete(
    '/volumes/:volume',
    {
      schema: {
        operationId: 'deleteVolume',
        summary: 'Delete a volume that is not attached; its files go in the background',
        tags: ['volumes'],
        params: VolumeParams,
        querystring: DeleteQuery,
        response: { 204: done, ...problem },
      },
    },
    async (request, reply) => {
      const snapshots = request.query.snapshots === 'true';
      await service.deleteVolume(request.params.volume, { snapshots });
      return reply.code(204).send(null);
    },
  );
  app.get(
    '/volumes/:volume/health',
    {
      schema: {
        operationId: 'getVolumeHealth',
        summary: 'Where the copies are, what is wrong, why, and what is done about it',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(ReportShape), ...problem },
      },
    },
    async (request) => (await detail(request.params.volume)).report,
  );
  app.get(
    '/volumes/:volume/layers',
    {
      schema: {
        operationId: 'listLayers',
        summary: 'The chain of layers, oldest first, and their copies',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: Type.Object({ layers: Type.Array(named(LayerShape)) }), ...problem },
      },
    },
    async (request) => {
      const { value } = service.volume(request.params.volume);
      return { layers: volumeDetailView(value, recordsOf(service), []).report.layers };
    },
  );
  app.post(
    '/volumes/:volume/attachments',
    {
      schema: {
        operationId: 'attachVolume',
        summary: 'Attach; answers when the endpoint serves, and the same when it already did',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(AttachVolume),
        response: { 200: named(EndpointShape), ...problem },
      },
      preValidation: async (request) => {
        // A request without a body is one without wishes.
        if (request.body === undefined) {
          request.body = {};
        }
      },
    },
    async (request, reply) => {
      const host = request.body.host ?? service.nodeName;
      return endpointView(await service.attach(request.params.volume, host, clientGone(reply)));
    },
  );
  app.delete(
    '/volumes/:volume/attachments/:host',
    {
      schema: {
        operationId: 'detachVolume',
        summary: 'Detach; answers when nothing of it is left, also when nothing was attached',
        tags: ['volumes'],
        params: AttachmentParams,
        querystring: DetachQuery,
        response: { 204: done, ...problem },
      },
    },
    async (request, reply) => {
      const { volume, host } = request.params;
      const gone = clientGone(reply);
      if (request.query.force === 'true') await service.operator.forceDetach(volume, host, gone);
      else await service.detach(volume, host, gone);
      return reply.code(204).send(null);
    },
  );
  app.post(
    '/volumes/:volume/seal',
    {
      schema: {
        operationId: 'sealVolume',
        summary: 'Seal the open layer and begin a new one',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(VolumeShape), ...problem },
      },
    },
    async (request, reply) =>
      volumeView(await service.seal(request.params.volume, clientGone(reply)), recordsOf(service)),
  );
}

/** With its plan of backups, or not at all. */
async function planned(
  service: NodeService,
  made: Volume,
  episodes: CreateVolumeRequest['episodes'],
): Promise<Volume> {
  if (episodes === undefined) return made;
  try {
    return await service.changes.change(made.id, { episodes });
  } catch (error) {
    await service.deleteVolume(made.id);
    throw error;
  }
}

async function created(
  service: NodeService,
  { name, sizeBytes, policy, source, ...limits }: Omit<CreateVolumeRequest, 'episodes'>,
  signal: AbortSignal,
): Promise<Volume> {
  const wanted = wantedLimits(limits);
  if (source !== undefined) {
    const { volume, snapshot = null } = source;
    const request = {
      name,
      limits: wanted,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(policy === undefined ? {} : { policy: policyNamed(policy) }),
    };
    return service.snapshots.clone({ volume, snapshot }, request, signal);
  }
  if (sizeBytes === undefined || policy === undefined) {
    throw new HyperscaleError('bad-input', 'an empty volume needs a size and a policy', {
      hint: 'Give sizeBytes and policy, or a source.',
    });
  }
  return service.createVolume({ name, sizeBytes, policy: policyNamed(policy), limits: wanted });
}

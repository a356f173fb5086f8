import { type Static, Type } from 'typebox';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { AttachVolume, VolumeParams } from '../request-schemas.ts';
import { EndpointShape, named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { SnapshotParams } from '../snapshot-schemas.ts';
import { endpointView } from '../views.ts';

const closed = { additionalProperties: false } as const;
const problem = { default: named(ProblemShape) };
const done = Type.Null({ description: 'Done.' });

const SnapshotHostParams = Type.Object(
  { ...SnapshotParams.properties, host: AttachVolume.properties.host },
  closed,
);
const ViewParams = Type.Object(
  { ...VolumeParams.properties, view: Type.String({ description: 'Id of it.', maxLength: 64 }) },
  closed,
);
export const OpenView = Type.Object(
  { snapshot: Type.Optional(SnapshotParams.properties.snapshot) },
  { $id: 'OpenView', ...closed },
);
export const ViewShape = Type.Object(
  {
    id: Type.String(),
    sizeBytes: Type.Integer({ description: 'Bytes.' }),
    endpoint: named(EndpointShape),
  },
  { $id: 'View' },
);
export const viewShapes = [OpenView, ViewShape];

export type ViewAnswer = Static<typeof ViewShape>;

/** Read-only endpoints: snapshots that are attached, and views that are read once. */
export function viewRoutes(app: App, service: NodeService): void {
  const { views } = service;
  app.post(
    '/volumes/:volume/snapshots/:snapshot/attachments',
    {
      schema: {
        operationId: 'attachSnapshot',
        summary: 'Make a snapshot readable on a node; the same answer when it already was',
        tags: ['snapshots'],
        params: SnapshotParams,
        body: named(AttachVolume),
        response: { 200: named(EndpointShape), ...problem },
      },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async (request, reply) => {
      const { host = service.nodeName } = request.body;
      return endpointView(await views.attach(request.params, host, clientGone(reply)));
    },
  );
  app.delete(
    '/volumes/:volume/snapshots/:snapshot/attachments/:host',
    {
      schema: {
        operationId: 'detachSnapshot',
        summary: 'End that; answers when nothing of it is left, also when nothing was attached',
        tags: ['snapshots'],
        params: SnapshotHostParams,
        response: { 204: done, ...problem },
      },
    },
    async (request, reply) => {
      const { host = service.nodeName, ...of } = request.params;
      await views.detach(of, host, clientGone(reply));
      return reply.code(204).send(null);
    },
  );
  app.post(
    '/volumes/:volume/views',
    {
      schema: {
        operationId: 'openView',
        summary: 'Make readable on this node what a volume, an image or a snapshot holds now',
        description:
          'For one reader, as of an export. It goes when it is closed, and a minute after nobody is ' +
          'connected to it any more.',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(OpenView),
        response: { 201: named(ViewShape), ...problem },
      },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async (request, reply) => {
      const { volume } = request.params;
      const { snapshot = null } = request.body;
      const { id, sizeBytes, endpoint } = await views.open({ volume, snapshot }, clientGone(reply));
      reply.code(201).header('location', `/v1/volumes/${volume}/views/${id}`);
      return { id, sizeBytes, endpoint: endpointView(endpoint) };
    },
  );
  app.delete(
    '/volumes/:volume/views/:view',
    {
      schema: {
        operationId: 'closeView',
        summary: 'End it; also when it has gone by itself',
        tags: ['volumes'],
        params: ViewParams,
        response: { 204: done, ...problem },
      },
    },
    async (request, reply) => {
      await views.close(request.params.view, clientGone(reply));
      return reply.code(204).send(null);
    },
  );
}

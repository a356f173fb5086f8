import { Type } from 'typebox';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { LinkName } from '../device-schemas.ts';
import type { NodeService } from '../service.ts';

const closed = { additionalProperties: false } as const;
const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', maxLength: 100 });
const Epoch = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Offset = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const GatewayPort = Type.Union([Type.Integer({ minimum: 1, maximum: 65_535 }), Type.Null()]);
const maxReadBytes = 4 * 2 ** 20;

const layer = { volume: Id, layer: Id, epoch: Epoch };
const LayerBody = Type.Object(layer, closed);
const VolumeBody = Type.Object({ volume: Id }, closed);
const Text = Type.String({ minLength: 1, maxLength: 100 });
const GroupSealBody = Type.Object(
  {
    volume: Id,
    group: Id,
    snapshot: Type.Object({ id: Id, name: Id, createdAt: Text, group: Type.Optional(Id) }, closed),
    step: Type.Enum(['ready', 'hold', 'keep', 'drop']),
  },
  closed,
);

/** What nodes ask of each other: one POST for each method of `PeerService`. Not for others. */
export function peerRoutes(app: App, service: NodeService): void {
  const { peer } = service;
  const hide = { hide: true } as const;
  app.post(
    '/prepareLayer',
    { schema: { ...hide, body: Type.Object({ ...layer, sizeBytes: Offset }, closed) } },
    (request) => peer.prepareLayer(request.body),
  );
  app.post(
    '/fence',
    { schema: { ...hide, body: Type.Object({ volume: Id, epoch: Epoch }, closed) } },
    (request) => peer.fence(request.body),
  );
  app.post('/serveLayer', { schema: { ...hide, body: LayerBody } }, async (request, reply) => {
    await peer.serveLayer(request.body);
    return reply.code(204).send();
  });
  app.post(
    '/openGateway',
    {
      schema: {
        ...hide,
        body: Type.Object({ volume: Id, session: Id, port: GatewayPort }, closed),
      },
    },
    (request) => peer.openGateway(request.body),
  );
  app.post('/manifest', { schema: { ...hide, body: LayerBody } }, (request) =>
    peer.manifest(request.body),
  );
  app.post(
    '/verifyLayer',
    {
      schema: {
        ...hide,
        body: Type.Object({ ...layer, root: Type.Union([Type.String(), Type.Null()]) }, closed),
      },
    },
    (request, reply) => peer.verifyLayer(request.body, clientGone(reply)),
  );
  app.post(
    '/readLayer',
    {
      schema: {
        ...hide,
        body: Type.Object(
          {
            ...layer,
            offset: Offset,
            length: Type.Integer({ minimum: 0, maximum: maxReadBytes }),
          },
          closed,
        ),
      },
    },
    async (request, reply) => {
      const bytes = await peer.readLayer(request.body);
      return reply.type('application/octet-stream').send(bytes);
    },
  );
  app.post('/work', { schema: hide }, async () => peer.work());
  app.post('/attach', { schema: { ...hide, body: VolumeBody } }, (request) =>
    peer.attach(request.body.volume),
  );
  app.post('/detach', { schema: { ...hide, body: VolumeBody } }, async (request, reply) => {
    await peer.detach(request.body.volume);
    return reply.code(204).send();
  });
  app.post(
    '/makeDevice',
    {
      schema: {
        ...hide,
        body: Type.Object({ volume: Id, name: Type.Optional(LinkName) }, closed),
      },
    },
    (request) => peer.makeDevice(request.body),
  );
  app.post(
    '/removeDevice',
    { schema: { ...hide, body: Type.Object({ volume: Id, force: Type.Boolean() }, closed) } },
    async (request, reply) => {
      await peer.removeDevice(request.body);
      return reply.code(204).send();
    },
  );
  app.post('/seal', { schema: { ...hide, body: VolumeBody } }, async (request, reply) => {
    await peer.seal(request.body.volume);
    return reply.code(204).send();
  });
  app.post('/groupSeal', { schema: { ...hide, body: GroupSealBody } }, (request) =>
    peer.groupSeal(request.body),
  );
  app.post(
    '/extend',
    { schema: { ...hide, body: Type.Object({ volume: Id, sizeBytes: Offset }, closed) } },
    async (request, reply) => {
      await peer.extend(request.body);
      return reply.code(204).send();
    },
  );
  app.post('/connections', { schema: { ...hide, body: VolumeBody } }, (request) =>
    peer.connections(request.body),
  );
  app.post('/resizeConsumers', { schema: { ...hide, body: VolumeBody } }, (request) =>
    peer.resizeConsumers(request.body),
  );
  app.post(
    '/inspect',
    { schema: { ...hide, body: Type.Object({ volume: Type.Optional(Id) }, closed) } },
    (request) => peer.inspect(request.body),
  );
  app.post(
    '/measurePool',
    {
      schema: {
        ...hide,
        body: Type.Object({ volumes: Type.Optional(Type.Array(Id, { maxItems: 500 })) }, closed),
      },
    },
    (request) => peer.measurePool(request.body),
  );
  app.post(
    '/quarantine',
    { schema: { ...hide, body: Type.Object({ path: Type.String({ maxLength: 1000 }) }, closed) } },
    (request) => peer.quarantine(request.body),
  );
  app.post(
    '/revoked',
    { schema: { ...hide, body: Type.Object({ volume: Id, session: Id }, closed) } },
    async (request, reply) => {
      await peer.revoked(request.body);
      return reply.code(204).send();
    },
  );
}

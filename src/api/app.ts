import { createHash, timingSafeEqual } from 'node:crypto';
import swagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  fastify,
  LogController,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from 'fastify';
import { HyperscaleError } from '../errors.ts';
import { backupShapes } from './backup-schemas.ts';
import { ChangeVolume } from './change-schemas.ts';
import { deviceShapes } from './device-schemas.ts';
import { DrainNode, DrainShape } from './drain-schemas.ts';
import { extendShapes } from './extend-schemas.ts';
import { groupSnapshotShapes } from './group-snapshot-schemas.ts';
import { imageShapes } from './image-schemas.ts';
import { operatorShapes } from './operator-schemas.ts';
import { problemFor, problemMediaType, problemOf } from './problems.ts';
import { refuseInQuarantine } from './quarantine.ts';
import { RestoreVolume } from './restore-schemas.ts';
import { backupRoutes } from './routes/backups.ts';
import { changeRoutes } from './routes/change.ts';
import { clusterRoutes } from './routes/cluster.ts';
import { deviceRoutes } from './routes/devices.ts';
import { drainRoutes } from './routes/drain.ts';
import { eventRoutes } from './routes/events.ts';
import { extendRoutes } from './routes/extend.ts';
import { groupSnapshotRoutes } from './routes/group-snapshots.ts';
import { imageRoutes } from './routes/images.ts';
import { legacyRoutes } from './routes/legacy.ts';
import { listRoutes } from './routes/lists.ts';
import { operatorRoutes } from './routes/operator.ts';
import { peerRoutes } from './routes/peer.ts';
import { qosRoutes } from './routes/qos.ts';
import { recoveryPeerRoutes, recoveryRoutes } from './routes/recovery.ts';
import { restoreRoutes } from './routes/restores.ts';
import { snapshotRoutes } from './routes/snapshots.ts';
import { spaceRoutes } from './routes/space.ts';
import { verifyRoutes } from './routes/verify.ts';
import { viewRoutes, viewShapes } from './routes/views.ts';
import { vmMoveRoutes, vmPeerRoutes } from './routes/vm-moves.ts';
import { vmDiskPeerRoutes, vmRoutes } from './routes/vms.ts';
import { volumeRoutes } from './routes/volumes.ts';
import { namedShapes } from './schemas.ts';
import type { NodeService } from './service.ts';
import { spaceShapes } from './space-schemas.ts';
import { vmMoveShapes } from './vm-move-schemas.ts';
import { vmShapes } from './vm-schemas.ts';

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** How one listener is reached: the Unix socket trusts its file mode, TCP asks for the secret. */
export type Access = { via: 'unix'; socket?: string } | { via: 'tcp'; secret: string };

const bodyLimitBytes = 64 * 1024;
const urlPartLimit = 500;

/** One HTTP application: the API, and over TCP also what nodes ask of each other. */
export async function buildApp(
  service: NodeService,
  access: Access,
  log: FastifyBaseLogger,
): Promise<App> {
  const app: App = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyLimitBytes,
    routerOptions: { maxParamLength: urlPartLimit },
    // Streams of events would keep a closing daemon waiting.
    forceCloseConnections: true,
    ajv: {
      customOptions: {
        // Nothing is silently changed into what it was not.
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        allErrors: false,
        verbose: true,
      },
    },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.removeContentTypeParser('text/plain');
  // The shapes of answers are for types and documentation; a validating serializer would drop
  // fields without a word.
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));
  app.setErrorHandler<FastifyError | HyperscaleError>((error, request, reply) => {
    const problem = problemFor(error, request, log);
    return reply
      .code(problem.status)
      .type(problemMediaType)
      .serializer(JSON.stringify)
      .send(problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const problem = problemOf(
      new HyperscaleError(
        'not-found',
        `there is no ${request.method} ${request.url.slice(0, 200)}`,
        {
          hint: 'GET /openapi.json lists everything there is.',
        },
      ),
    );
    return reply.code(404).type(problemMediaType).serializer(JSON.stringify).send(problem);
  });
  if (access.via === 'tcp') {
    requireSecret(app, access.secret);
  }
  app.addHook('preHandler', async (request) => refuseInQuarantine(service, request));
  app.addHook('onResponse', async (request, reply) => {
    const { method, url } = request;
    const entry = { method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime) };
    if (method === 'GET' || url.startsWith('/peer/')) {
      log.debug(entry, 'request');
    } else {
      log.info(entry, 'request');
    }
  });
  for (const shape of [
    ...namedShapes,
    ...operatorShapes,
    DrainNode,
    DrainShape,
    ...deviceShapes,
    ...vmMoveShapes,
    ...vmShapes,
    ...extendShapes,
    ChangeVolume,
    ...groupSnapshotShapes,
    ...viewShapes,
    ...imageShapes,
    ...backupShapes,
    ...spaceShapes,
    RestoreVolume,
  ]) {
    app.addSchema(shape);
  }
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'HyperScale',
        version: service.version,
        description:
          'Replicated block storage for virtual machines. Served on a Unix socket without ' +
          'authentication, and on TCP with a bearer token.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      components: { securitySchemes: { secret: { type: 'http', scheme: 'bearer' } } },
      security: [{ secret: [] }, {}],
      tags: [
        { name: 'cluster', description: 'The cluster, its nodes and policies' },
        { name: 'volumes', description: 'Volumes and where they are attached' },
        { name: 'images', description: 'What volumes are made from' },
        { name: 'snapshots', description: 'Points in time of volumes that are kept' },
        { name: 'backups', description: 'Points in time of volumes outside of the cluster' },
        { name: 'vms', description: 'Virtual machines with volumes as disks' },
        { name: 'events', description: 'What happens' },
      ],
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json.$id === 'string' ? json.$id : `shape-${index}`,
    },
  });
  await app.register(
    async (v1: App) => {
      clusterRoutes(v1, service);
      recoveryRoutes(v1, service);
      listRoutes(v1, service);
      volumeRoutes(v1, service);
      spaceRoutes(v1, service);
      deviceRoutes(v1, service);
      qosRoutes(v1, service);
      extendRoutes(v1, service);
      changeRoutes(v1, service);
      snapshotRoutes(v1, service);
      groupSnapshotRoutes(v1, service);
      viewRoutes(v1, service);
      verifyRoutes(v1, service);
      backupRoutes(v1, service);
      eventRoutes(v1, service);
      operatorRoutes(v1, service);
      drainRoutes(v1, service);
      // Apart, because only it takes files as bodies.
      await v1.register(async (files: App) => imageRoutes(files, service));
      restoreRoutes(v1, service);
      vmRoutes(v1, service);
      vmMoveRoutes(v1, service);
      legacyRoutes(v1, access.via === 'unix' ? access.socket : undefined);
    },
    { prefix: '/v1' },
  );
  if (access.via === 'tcp') {
    await app.register(
      async (peer: App) => {
        peerRoutes(peer, service);
        recoveryPeerRoutes(peer, service);
        vmPeerRoutes(peer, service);
        vmDiskPeerRoutes(peer, service);
      },
      { prefix: '/peer/v1' },
    );
  }
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  return app;
}

function requireSecret(app: App, secret: string): void {
  const expected = digest(secret);
  app.addHook('onRequest', async (request, reply) => {
    // Digests have one length, so that the comparison takes the same time whatever is sent.
    const token = /^bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (!timingSafeEqual(digest(token ?? ''), expected) || token === undefined) {
      reply.header('www-authenticate', 'Bearer realm="hyperscale"');
      throw new HyperscaleError('unauthorized', 'the request has no valid bearer token', {
        hint: "Send `Authorization: Bearer SECRET` with the contents of the node's secret file.",
      });
    }
  });
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import type { VmMoves } from '../../vm/moves.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { NodeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import {
  CancelledShape,
  EvacuatedShape,
  EvacuateNode,
  MigratedShape,
  MigrateVm,
  MigrationShape,
  VmParams,
} from '../vm-move-schemas.ts';

const problem = { default: named(ProblemShape) };
const tags = ['vms'];

/** Live migration and evacuation of libvirt domains. */
export function vmMoveRoutes(app: App, service: NodeService): void {
  app.post(
    '/vms/:vm/migrate',
    {
      schema: {
        operationId: 'migrateVm',
        summary: 'Live-migrate a guest; answers when it runs at the other node',
        description: 'Cancelled when the caller goes away: then the guest stays where it is.',
        tags,
        params: VmParams,
        body: named(MigrateVm),
        response: { 200: named(MigratedShape), ...problem },
      },
    },
    async (request, reply) =>
      movesOf(service).migrate(request.params.vm, request.body.to, clientGone(reply)),
  );
  app.get(
    '/vms/:vm/migrate',
    {
      schema: {
        operationId: 'getMigration',
        summary: 'How far the migration of a guest is; null when there is none',
        tags,
        params: VmParams,
        response: { 200: named(MigrationShape), ...problem },
      },
    },
    async (request) => ({ migration: await movesOf(service).migration(request.params.vm) }),
  );
  app.delete(
    '/vms/:vm/migrate',
    {
      schema: {
        operationId: 'cancelMigration',
        summary: 'Cancel the migration of a guest; answers when it is known where it runs',
        tags,
        params: VmParams,
        response: { 200: named(CancelledShape), ...problem },
      },
    },
    async (request) => movesOf(service).cancelMigration(request.params.vm),
  );
  app.post(
    '/nodes/:name/evacuate',
    {
      schema: {
        operationId: 'evacuateNode',
        summary: 'Start the guests of a dead node elsewhere',
        description: 'not-allowed while the node is up. Asked again it goes on where it ended.',
        tags,
        params: NodeParams,
        body: named(EvacuateNode),
        response: { 200: named(EvacuatedShape), ...problem },
      },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async (request, reply) => {
      const { to = null, vm = null } = request.body;
      return movesOf(service).evacuate(request.params.name, { to, vm }, clientGone(reply));
    },
  );
}

const closed = { additionalProperties: false } as const;
const Uuid = Type.String({ pattern: '^[0-9a-f-]{36}$' });
const UuidBody = Type.Object({ uuid: Uuid }, closed);
const hide = { hide: true } as const;

/** What nodes ask of each other about guests: one POST for each method of `VmMovesHere`. */
export function vmPeerRoutes(app: App, service: NodeService): void {
  const here = () => movesOf(service).here;
  app.post('/vm/presence', { schema: { ...hide, body: UuidBody } }, (request) =>
    here().presence(request.body.uuid),
  );
  app.post('/vm/canRun', { schema: hide }, async () => {
    await here().canRun();
    return {};
  });
  app.post('/vm/takeIn', { schema: { ...hide, body: UuidBody } }, (request, reply) =>
    here().takeIn(request.body.uuid, clientGone(reply)),
  );
  app.post(
    '/vm/migrate',
    {
      schema: {
        ...hide,
        body: Type.Object({ uuid: Uuid, to: NodeParams.properties.name }, closed),
      },
    },
    (request, reply) => here().migrate(request.body.uuid, request.body.to, clientGone(reply)),
  );
  app.post('/vm/cancelMigration', { schema: { ...hide, body: UuidBody } }, (request) =>
    here().cancelMigration(request.body.uuid),
  );
  app.post('/vm/migration', { schema: { ...hide, body: UuidBody } }, async (request, reply) => {
    const state = await here().migration(request.body.uuid);
    return reply.type('application/json').send(JSON.stringify(state));
  });
}

function movesOf(service: NodeService): VmMoves {
  if (service.moves !== null) return service.moves;
  throw new HyperscaleError('unavailable', 'this daemon moves no guests');
}

import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import type { RecoverResult } from '../../recovery/recovery.ts';
import type { App } from '../app.ts';
import { RecoverCluster, type RecoveryAnswer, RecoveryShape } from '../recover-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';

/** The recovery of the records, for operators. */
export function recoveryRoutes(app: App, service: NodeService): void {
  app.post(
    '/cluster/recover',
    {
      schema: {
        operationId: 'recoverCluster',
        summary: 'Rebuild the records in the store from what the nodes keep in their pools',
        tags: ['cluster'],
        body: named(RecoverCluster),
        response: { 200: named(RecoveryShape), default: named(ProblemShape) },
      },
    },
    async (request) => {
      const { dryRun = false, acceptDataLoss = false, digest } = request.body;
      const wish = { dryRun, acceptDataLoss, ...(digest === undefined ? {} : { digest }) };
      if (service.recovery === null) {
        throw new HyperscaleError('unavailable', `${service.nodeName} has no pool to recover from`);
      }
      return recoveryView(await service.recovery.run(wish));
    },
  );
}

function recoveryView({ plan, ...rest }: RecoverResult): RecoveryAnswer {
  const { volumes, nodes, findings, losses, refused } = plan;
  return {
    ...rest,
    volumes: volumes.map(({ record: _, fence: __, ...volume }) => volume),
    nodes: nodes.map((n) => n.name).sort(),
    findings,
    losses,
    refused,
  };
}

const closed = { additionalProperties: false } as const;
const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', maxLength: 100 });
const Epoch = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** What a node that recovers the records asks of the others. */
export function recoveryPeerRoutes(app: App, service: NodeService): void {
  const hide = { hide: true } as const;
  const { recovery } = service;
  if (recovery === null) return;
  const { here } = recovery;
  app.post('/recoveryFacts', { schema: hide }, () => here.facts());
  app.post(
    '/recoveryFence',
    { schema: { ...hide, body: Type.Object({ volume: Id, epoch: Epoch }, closed) } },
    async (request, reply) => {
      await here.fence(request.body.volume, request.body.epoch);
      return reply.code(204).send();
    },
  );
  app.post(
    '/acceptStore',
    {
      schema: {
        ...hide,
        body: Type.Object(
          { clusterId: Id, revision: Type.String({ pattern: '^[0-9]{1,20}$' }) },
          closed,
        ),
      },
    },
    async (request, reply) => {
      await here.accept(request.body);
      return reply.code(204).send();
    },
  );
}

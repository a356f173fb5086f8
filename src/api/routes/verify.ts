import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { VerificationShape, VerifyVolume } from '../verify-schemas.ts';

/** Whether all copies of a volume are what they should be. */
export function verifyRoutes(app: App, service: NodeService): void {
  app.post(
    '/volumes/:volume/verify',
    {
      schema: {
        operationId: 'verifyVolume',
        summary: 'Read and compare every copy of every layer; answers when all were read',
        description:
          'Takes as long as the disks take; GET /v1/work tells how far each node is. Ends on all ' +
          'nodes when the client goes away; a repair that was begun is carried on.',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(VerifyVolume),
        response: { 200: named(VerificationShape), default: named(ProblemShape) },
      },
      preValidation: async (request) => {
        // A request without a body is one without wishes.
        if (request.body === undefined) {
          request.body = {};
        }
      },
    },
    async (request, reply) => {
      const { seal = false, repair = false } = request.body;
      return service.verify(request.params.volume, { seal, repair }, clientGone(reply));
    },
  );
}

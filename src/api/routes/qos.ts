import { refuseMinimum } from '../../volume/limits.ts';
import { policyNamed } from '../../volume/policy.ts';
import type { App } from '../app.ts';
import { ChangeLimits, type LimitsRequest, LimitsShape } from '../qos-schemas.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { limitsView } from '../views.ts';

const problem = { default: named(ProblemShape) };

/** What a volume may do. */
export function qosRoutes(app: App, service: NodeService): void {
  app.get(
    '/volumes/:volume/qos',
    {
      schema: {
        operationId: 'getLimits',
        summary: 'What all consumers of a volume together may do',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(LimitsShape), ...problem },
      },
    },
    async (request) => limitsView(service.volume(request.params.volume).value),
  );
  app.patch(
    '/volumes/:volume/qos',
    {
      schema: {
        operationId: 'changeLimits',
        summary: 'Change the limits; what is not named stays, and I/O goes on',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(ChangeLimits),
        response: { 200: named(LimitsShape), ...problem },
      },
    },
    async (request) => {
      const { policy, ...asked } = request.body;
      const limits = wantedLimits(asked);
      const taken = policy === undefined ? null : policyNamed(policy);
      const change = { policy: taken, limits };
      return limitsView(await service.setLimits(request.params.volume, change));
    },
  );
}

/** What is asked of the limits. @throws `not-allowed` for what nobody can promise */
export function wantedLimits({ minIops, ...limits }: LimitsRequest) {
  if (minIops !== undefined) refuseMinimum(minIops);
  return limits;
}

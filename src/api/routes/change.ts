import { policyNamed } from '../../volume/policy.ts';
import type { App } from '../app.ts';
import { ChangeVolume } from '../change-schemas.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape, VolumeShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { recordsOf, volumeView } from '../views.ts';

const response = { 200: named(VolumeShape), default: named(ProblemShape) };

/** Changes that consumers of a volume do not notice. */
export function changeRoutes(app: App, service: NodeService): void {
  app.patch(
    '/volumes/:volume',
    {
      schema: {
        operationId: 'changeVolume',
        summary: 'Change the name, the policy, the metadata or the plan of backups; I/O goes on',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(ChangeVolume),
        response,
      },
    },
    async (request) => {
      const { name, policy, metadata, episodes } = request.body;
      const changed = await service.changes.change(request.params.volume, {
        ...(name === undefined ? {} : { name }),
        ...(policy === undefined ? {} : { policy: policyNamed(policy) }),
        ...(metadata === undefined ? {} : { metadata }),
        ...(episodes === undefined ? {} : { episodes }),
      });
      return volumeView(changed, recordsOf(service));
    },
  );
  app.post(
    '/volumes/:volume/flatten',
    {
      schema: {
        operationId: 'flattenVolume',
        summary: 'Copy all that a clone shows of others into it, in the background',
        tags: ['volumes'],
        params: VolumeParams,
        response,
      },
    },
    async (request) =>
      volumeView(await service.changes.flatten(request.params.volume), recordsOf(service)),
  );
  app.delete(
    '/volumes/:volume/flatten',
    {
      schema: {
        operationId: 'cancelFlatten',
        summary: 'Give a flatten up that is under way; none is fine',
        tags: ['volumes'],
        params: VolumeParams,
        response,
      },
    },
    async (request) =>
      volumeView(await service.changes.cancelFlatten(request.params.volume), recordsOf(service)),
  );
}

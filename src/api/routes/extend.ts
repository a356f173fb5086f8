import { checkVolumeSize } from '../../volume/names.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { ExtendedShape, ExtendVolume } from '../extend-schemas.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { recordsOf, volumeView } from '../views.ts';

/** Growing a volume. */
export function extendRoutes(app: App, service: NodeService): void {
  app.post(
    '/volumes/:volume/extend',
    {
      schema: {
        operationId: 'extendVolume',
        summary: 'Make a volume larger while it is used; answers when its consumers were told',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(ExtendVolume),
        response: { 200: named(ExtendedShape), default: named(ProblemShape) },
      },
      // The same rules as in the schema, but they say what would be right.
      preValidation: async (request) => {
        const body: unknown = request.body;
        if (typeof body !== 'object' || body === null || !('sizeBytes' in body)) return;
        if (typeof body.sizeBytes === 'number') checkVolumeSize(body.sizeBytes);
      },
    },
    async (request, reply) => {
      const { sizeBytes } = request.body;
      const gone = clientGone(reply);
      const extended = await service.extendVolume(request.params.volume, sizeBytes, gone);
      const volume = volumeView(extended.volume, recordsOf(service));
      return { sizeBytes: volume.sizeBytes, volume, consumers: extended.consumers };
    },
  );
}

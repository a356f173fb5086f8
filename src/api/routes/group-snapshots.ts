import { checkSnapshotName, newSnapshotName } from '../../volume/snapshot-names.ts';
import type { App } from '../app.ts';
import { CreateGroupSnapshot, GroupSnapshotShape } from '../group-snapshot-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { snapshotView } from '../snapshot-views.ts';
import { recordsOf } from '../views.ts';

/** Snapshots of several volumes at one instant. */
export function groupSnapshotRoutes(app: App, service: NodeService): void {
  app.post(
    '/snapshots',
    {
      schema: {
        operationId: 'createGroupSnapshot',
        summary: 'Keep what several volumes hold at one instant',
        tags: ['snapshots'],
        body: named(CreateGroupSnapshot),
        response: { 201: named(GroupSnapshotShape), default: named(ProblemShape) },
      },
    },
    async (request, reply) => {
      const { name = newSnapshotName(new Date()), volumes: asked } = request.body;
      checkSnapshotName(name);
      const made = await service.snapshots.createGroup(asked, { name });
      const { lookup } = recordsOf(service);
      const snapshots = made.volumes.flatMap((volume, i) => {
        const snapshot = made.snapshots[i];
        return snapshot === undefined ? [] : [snapshotView(volume, snapshot, lookup)];
      });
      reply.code(201);
      return { group: made.group, heldMs: made.heldMs, snapshots };
    },
  );
}

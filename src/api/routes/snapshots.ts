import { Type } from 'typebox';
import {
  checkSnapshotId,
  checkSnapshotName,
  newSnapshotName,
} from '../../volume/snapshot-names.ts';
import { findSnapshot } from '../../volume/snapshots.ts';
import type { Volume } from '../../volume/types.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape, VolumeShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import {
  ChangeSnapshot,
  CreateSnapshot,
  SnapshotParams,
  SnapshotShape,
} from '../snapshot-schemas.ts';
import { snapshotView } from '../snapshot-views.ts';
import { recordsOf, volumeView } from '../views.ts';

const problem = { default: named(ProblemShape) };
const tags = ['snapshots'];

/** Snapshots of volumes. Clones are made where volumes are: `POST /v1/volumes`. */
export function snapshotRoutes(app: App, service: NodeService): void {
  const { snapshots } = service;
  const shown = (volume: Volume, snapshot: string) =>
    snapshotView(volume, findSnapshot(volume, snapshot), recordsOf(service).lookup);
  app.post(
    '/volumes/:volume/snapshots',
    {
      schema: {
        operationId: 'createSnapshot',
        summary: 'Keep what a volume holds at a moment between the call and the answer',
        tags,
        params: VolumeParams,
        body: named(CreateSnapshot),
        response: { 201: named(SnapshotShape), ...problem },
      },
      // The same rules as in the schema, but they say what would be right.
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
        const body: unknown = request.body;
        if (typeof body !== 'object' || body === null) return;
        if ('name' in body && typeof body.name === 'string') checkSnapshotName(body.name);
        if ('id' in body && typeof body.id === 'string') checkSnapshotId(body.id);
      },
    },
    async (request, reply) => {
      const { name = newSnapshotName(new Date()), id } = request.body;
      const made = await snapshots.create(
        request.params.volume,
        id === undefined ? { name } : { name, id },
        clientGone(reply),
      );
      const { volume, snapshot } = made;
      reply.code(201).header('location', `/v1/volumes/${volume.id}/snapshots/${snapshot.id}`);
      return snapshotView(volume, snapshot, recordsOf(service).lookup);
    },
  );
  app.get(
    '/volumes/:volume/snapshots/:snapshot',
    {
      schema: {
        operationId: 'getSnapshot',
        summary: 'One snapshot',
        tags,
        params: SnapshotParams,
        response: { 200: named(SnapshotShape), ...problem },
      },
    },
    async (request) => {
      const { volume, snapshot } = request.params;
      return shown(service.volume(volume).value, snapshot);
    },
  );
  app.patch(
    '/volumes/:volume/snapshots/:snapshot',
    {
      schema: {
        operationId: 'changeSnapshot',
        summary: 'Protect a snapshot from being deleted, or no longer',
        tags,
        params: SnapshotParams,
        body: named(ChangeSnapshot),
        response: { 200: named(SnapshotShape), ...problem },
      },
    },
    async (request) => {
      const { volume, snapshot } = request.params;
      const kept = await snapshots.protect(volume, snapshot, request.body.protected);
      return shown(kept, snapshot);
    },
  );
  app.delete(
    '/volumes/:volume/snapshots/:snapshot',
    {
      schema: {
        operationId: 'deleteSnapshot',
        summary: 'Delete a snapshot; what only it held goes in the background. Absent is fine',
        tags,
        params: SnapshotParams,
        response: { 204: Type.Null({ description: 'Done.' }), ...problem },
      },
    },
    async (request, reply) => {
      await snapshots.remove(request.params.volume, request.params.snapshot);
      return reply.code(204).send(null);
    },
  );
  app.post(
    '/volumes/:volume/snapshots/:snapshot/revert',
    {
      schema: {
        operationId: 'revertVolume',
        summary: 'Make a volume that nobody is connected to what it was at a snapshot, which stays',
        tags,
        params: SnapshotParams,
        response: { 200: named(VolumeShape), ...problem },
      },
    },
    async (request, reply) => {
      const { volume, snapshot } = request.params;
      const reverted = await snapshots.revert(volume, snapshot, clientGone(reply));
      return volumeView(reverted, recordsOf(service));
    },
  );
}

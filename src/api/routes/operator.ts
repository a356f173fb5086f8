import { errorText } from '../../errors.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import {
  ForceRequest,
  type FsckAnswer,
  FsckRequest,
  FsckShape,
  LossShape,
  RemovalShape,
  RemovedShape,
  RemoveNodeQuery,
} from '../operator-schemas.ts';
import type { FsckReport } from '../operator-service.ts';
import { NodeParams, VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape, VolumeDetailShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { recordsOf, volumeDetailView } from '../views.ts';

const problem = { default: named(ProblemShape) };
const unnamed = 'somebody';

/** Checks, and decisions that the system never makes by itself. */
export function operatorRoutes(app: App, service: NodeService): void {
  const { operator } = service;
  app.post(
    '/cluster/fsck',
    {
      schema: {
        operationId: 'checkCluster',
        summary: 'Compare the records with what is on disk and running',
        tags: ['cluster'],
        body: named(FsckRequest),
        response: { 200: named(FsckShape), ...problem },
      },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    async (request, reply) => {
      const { volume = null, repair = false } = request.body;
      return fsckView(service, await operator.fsck({ volume, repair }, clientGone(reply)));
    },
  );
  app.get(
    '/volumes/:volume/loss',
    {
      schema: {
        operationId: 'getVolumeLoss',
        summary: 'What would be lost if the volume went on with what can be reached now',
        description: 'not-allowed when nothing would be: then the volume needs no force.',
        tags: ['volumes'],
        params: VolumeParams,
        response: { 200: named(LossShape), ...problem },
      },
    },
    async (request) => operator.loss(request.params.volume),
  );
  app.post(
    '/volumes/:volume/force',
    {
      schema: {
        operationId: 'forceVolume',
        summary: 'Go on without data that cannot be reached',
        description: 'Loses exactly what the request names, or refuses: conflict.',
        tags: ['volumes'],
        params: VolumeParams,
        body: named(ForceRequest),
        response: { 200: named(VolumeDetailShape), ...problem },
      },
    },
    async (request) => {
      const { by = unnamed, ...agreed } = request.body;
      const volume = await operator.force(request.params.volume, agreed, by);
      const work = await service.work(true).catch((error: unknown) => {
        app.log.warn({ volume: volume.id, error: errorText(error) }, 'work is not known');
        return [];
      });
      return volumeDetailView(volume, recordsOf(service), work);
    },
  );
  app.get(
    '/nodes/:name/removal',
    {
      schema: {
        operationId: 'getNodeRemoval',
        summary: 'What the removal of a node that is down would mean',
        tags: ['cluster'],
        params: NodeParams,
        response: { 200: named(RemovalShape), ...problem },
      },
    },
    async (request) => operator.removal(request.params.name),
  );
  app.delete(
    '/nodes/:name',
    {
      schema: {
        operationId: 'removeNode',
        summary: 'Take a node that is gone for good out of the cluster',
        tags: ['cluster'],
        params: NodeParams,
        querystring: RemoveNodeQuery,
        response: { 200: named(RemovedShape), ...problem },
      },
    },
    async (request, reply) => {
      const { acceptDataLoss, by = unnamed } = request.query;
      const decision = { acceptDataLoss: acceptDataLoss === 'true', by };
      return operator.removeNode(request.params.name, decision, clientGone(reply));
    },
  );
}

function fsckView(service: NodeService, report: FsckReport): FsckAnswer {
  const volumes = service.volumes();
  const findings = report.findings.map(({ fix, subject: _, ...finding }) => ({
    ...finding,
    volumeName: volumes.find(({ value }) => value.id === finding.volume)?.value.name ?? null,
    repair: fix === null ? ('none' as const) : ('safe' as const),
  }));
  return { ...report, findings };
}

import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import type { App } from '../app.ts';
import {
  BackupDetailShape,
  BackupParams,
  BackupShape,
  BackupsQuery,
  BackupVerificationShape,
  CreateBackup,
  CreateRepository,
  EpisodeParams,
  EpisodeShape,
  SweepBackups,
  SweptShape,
  TargetParams,
  TargetShape,
  VerifyBackups,
  VolumeBackupsShape,
} from '../backup-schemas.ts';
import type { BackupService } from '../backup-service.ts';
import { backupView, episodeView, verificationView } from '../backup-views.ts';
import { clientGone } from '../client-gone.ts';
import { answeredElsewhere } from '../forward.ts';
import { pageInOrder } from '../list-page.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';

const problem = { default: named(ProblemShape) };
const done = Type.Null({ description: 'Done.' });
const tags = ['backups'];

/** An empty body is as good as `{}`. */
const emptyBody = async (request: { body: unknown }) => {
  if (request.body === undefined) request.body = {};
};

/** Backups of volumes, and the targets that they are on. */
export function backupRoutes(app: App, service: NodeService): void {
  targetRoutes(app, service);
  volumeBackupRoutes(app, service);
}

/** Those of one target are answered by a node that has it. */
function targetRoutes(app: App, service: NodeService): void {
  const backups = () => here(service);
  const elsewhere = (target: string, request: FastifyRequest, reply: FastifyReply) =>
    answeredElsewhere(service, request, reply, { target, pool: false });
  app.get(
    '/backup-targets',
    {
      schema: {
        operationId: 'listBackupTargets',
        summary: 'Where backups go, and which nodes can write there',
        tags,
        response: { 200: Type.Object({ targets: Type.Array(named(TargetShape)) }), ...problem },
      },
    },
    async () => ({ targets: await backups().targets() }),
  );
  app.post(
    '/backup-targets/:target',
    {
      schema: {
        operationId: 'createBackupRepository',
        summary: 'Make the repository of a target, once; with a key it is encrypted',
        tags,
        params: TargetParams,
        body: named(CreateRepository),
        response: { 201: named(TargetShape), ...problem },
      },
      preValidation: emptyBody,
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request, reply) => {
      const made = await backups().createRepository(request.params.target, request.body);
      reply.code(201);
      return made;
    },
  );
  app.get(
    '/backup-targets/:target/backups',
    {
      schema: {
        operationId: 'listBackups',
        summary: 'Backups of one volume or of all, by volume and time',
        tags,
        params: TargetParams,
        querystring: BackupsQuery,
        response: {
          200: Type.Object({
            backups: Type.Array(named(BackupShape)),
            next: Type.Optional(Type.String({ description: '`after` of the next part.' })),
          }),
          ...problem,
        },
      },
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request) => {
      const { target } = request.params;
      const { volume, ...wish } = request.query;
      const all = await backups().list(target, volume ?? null);
      const { entries, ...more } = pageInOrder(all, ({ id }) => id, wish);
      return { backups: entries.map((entry) => backupView(target, entry)), ...more };
    },
  );
  app.get(
    '/backup-targets/:target/backups/:backup',
    {
      schema: {
        operationId: 'getBackup',
        summary: 'One backup',
        tags,
        params: BackupParams,
        response: { 200: named(BackupDetailShape), ...problem },
      },
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request) => {
      const { target, backup } = request.params;
      const { entry, labels, parent } = await backups().show(target, backup);
      return { ...backupView(target, entry), parent, labels: { ...labels } };
    },
  );
  app.delete(
    '/backup-targets/:target/backups/:backup',
    {
      schema: {
        operationId: 'deleteBackup',
        summary: 'Delete a backup, and free what no other one needs; others lose nothing',
        tags,
        params: BackupParams,
        response: { 200: named(BackupShape), ...problem },
      },
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request, reply) => {
      const { target, backup } = request.params;
      return backupView(target, await backups().remove(target, backup, clientGone(reply)));
    },
  );
  app.post(
    '/backup-targets/:target/verify',
    {
      schema: {
        operationId: 'verifyBackups',
        summary: 'Prove without restoring that backups can be restored, or tell which cannot',
        tags,
        params: TargetParams,
        body: named(VerifyBackups),
        response: { 200: named(BackupVerificationShape), ...problem },
      },
      preValidation: emptyBody,
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request, reply) => {
      const { target } = request.params;
      const { backup = null, volume = null, full } = request.body;
      const mode = full === true ? 'full' : 'quick';
      const which = { backup, volume, mode } as const;
      return verificationView(
        target,
        mode,
        await backups().verify(target, which, clientGone(reply)),
      );
    },
  );
  app.post(
    '/backup-targets/:target/sweep',
    {
      schema: {
        operationId: 'sweepBackups',
        summary: 'Free what no backup needs',
        tags,
        params: TargetParams,
        body: named(SweepBackups),
        response: { 200: named(SweptShape), ...problem },
      },
      preValidation: emptyBody,
      preHandler: async (request, reply) => elsewhere(request.params.target, request, reply),
    },
    async (request, reply) => {
      const { target } = request.params;
      const { volume = null } = request.body;
      return { target, ...(await backups().sweep(target, volume, clientGone(reply))) };
    },
  );
}

function volumeBackupRoutes(app: App, service: NodeService): void {
  app.get(
    '/volumes/:volume/backups',
    {
      schema: {
        operationId: 'getVolumeBackups',
        summary: 'The plan of a volume, what waits to be written, and what the next one builds on',
        tags,
        params: VolumeParams,
        response: { 200: named(VolumeBackupsShape), ...problem },
      },
    },
    async (request) => {
      const { value } = service.volume(request.params.volume);
      const episodes = await here(service).episodes(value.id);
      return {
        volume: value.id,
        plan: value.episodePlan ?? null,
        episodes: episodes.map(episodeView),
      };
    },
  );
  app.post(
    '/volumes/:volume/backups',
    {
      schema: {
        operationId: 'createBackup',
        summary: 'Back up a volume as it is now, or a snapshot; it is written in the background',
        tags,
        params: VolumeParams,
        body: named(CreateBackup),
        response: { 202: named(EpisodeShape), ...problem },
      },
      preValidation: emptyBody,
    },
    async (request, reply) => {
      const { name = null, snapshot = null, target = null } = request.body;
      const backups = here(service);
      const wish = { name, snapshot, target };
      const begun = await backups.begin(request.params.volume, wish, clientGone(reply));
      reply.code(202);
      const state = { shipper: null, doneBytes: 0, totalBytes: null, problem: null };
      return episodeView({ ...begun.episode, ...state });
    },
  );
  app.delete(
    '/volumes/:volume/backups/:episode',
    {
      schema: {
        operationId: 'cancelBackup',
        summary: 'Give up a backup that is not written yet, or forget a base; none is fine',
        tags,
        params: EpisodeParams,
        response: { 204: done, ...problem },
      },
    },
    async (request, reply) => {
      await here(service).cancel(request.params.volume, request.params.episode);
      return reply.code(204).send(null);
    },
  );
}

function here({ backups }: NodeService): BackupService {
  if (backups !== null) return backups;
  throw new HyperscaleError('unavailable', 'this node does not work on backups yet', {
    hint: 'It is starting; try again.',
  });
}

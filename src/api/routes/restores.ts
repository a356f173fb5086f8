import { HyperscaleError } from '../../errors.ts';
import type { BackupWish } from '../../restore/choose.ts';
import { checkVolumeName } from '../../volume/names.ts';
import { policyNamed } from '../../volume/policy.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { answeredElsewhere } from '../forward.ts';
import { defaultRestorePolicy, RestoreVolume, type RestoreWishes } from '../restore-schemas.ts';
import type { RestoreService } from '../restore-service.ts';
import { named, ProblemShape, VolumeShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { recordsOf, volumeView } from '../views.ts';

/** Volumes from backups. */
export function restoreRoutes(app: App, service: NodeService): void {
  app.post(
    '/volumes/restore',
    {
      schema: {
        operationId: 'restoreVolume',
        summary: 'Make a volume of a backup; answers when it can be attached',
        tags: ['volumes'],
        body: named(RestoreVolume),
        response: { 201: named(VolumeShape), default: named(ProblemShape) },
      },
      preHandler: async (request, reply) =>
        answeredElsewhere(service, request, reply, { target: request.body.target, pool: true }),
    },
    async (request, reply) => {
      const { name, policy, target } = request.body;
      checkVolumeName(name);
      const wanted = {
        name,
        policy: policyNamed(policy ?? defaultRestorePolicy),
        target,
        wish: wishOf(request.body),
        stream: request.body.stream === true,
      };
      const volume = await restoresOf(service).restore(wanted, clientGone(reply));
      reply.code(201).header('location', `/v1/volumes/${volume.id}`);
      return volumeView(volume, recordsOf(service));
    },
  );
}

/** @throws `bad-input` unless it is one of the two ways to name a backup */
function wishOf({ at, backup, volume }: RestoreWishes): BackupWish {
  if (backup !== undefined && volume === undefined && at === undefined) return { backup };
  if (backup === undefined && volume !== undefined) {
    return { volume, at: at === undefined ? null : timeIn(at) };
  }
  throw new HyperscaleError('bad-input', 'it is not clear which backup is meant', {
    hint: 'Give either backup, or volume and perhaps at.',
  });
}

/** @throws `bad-input` */
function timeIn(at: string): number {
  const ms = Date.parse(at);
  if (Number.isSafeInteger(ms)) return ms;
  throw new HyperscaleError('bad-input', `at (${at}) is no time`, {
    hint: 'Give one as in 2026-11-23T04:00:00Z.',
  });
}

function restoresOf({ nodeName, restores }: NodeService): RestoreService {
  if (restores !== null) return restores;
  throw new HyperscaleError('not-supported', `node ${nodeName} restores no backups`, {
    hint: 'Ask another node.',
  });
}

import type { FastifyRequest } from 'fastify';
import { HyperscaleError } from '../errors.ts';
import type { NodeService } from './service.ts';

/** What may be asked of a daemon that does not believe its records: to look, and to recover. */
const allowed = /^(\/v1\/cluster\/recover|\/peer\/v1\/(recovery|acceptStore|work|inspect))/;

/**
 * Refuses what would change something while the metadata in etcd are not believed.
 * @throws `quarantined`
 */
export function refuseInQuarantine(service: NodeService, request: FastifyRequest): void {
  const reason = service.quarantine();
  if (reason === null || request.method === 'GET' || request.method === 'HEAD') return;
  if (allowed.test(request.url)) return;
  throw new HyperscaleError('quarantined', `node ${service.nodeName} is in quarantine: ${reason}`, {
    hint: nextStep,
    values: { node: service.nodeName, reason },
  });
}

/** What to do about a quarantine. */
export const nextStep =
  'Bring the right etcd back, or rebuild the records: hscli cluster recover --dry-run (docs/recovery.md)';

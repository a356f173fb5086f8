import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import { builtInPolicies } from '../../volume/policy.ts';
import type { App } from '../app.ts';
import { NodeParams, WorkQuery } from '../request-schemas.ts';
import {
  ClusterShape,
  HealthShape,
  NodeShape,
  named,
  PolicyShape,
  ProblemShape,
  WorkShape,
} from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { clusterView, nodeView, policyView, workView } from '../views.ts';

const problem = { default: named(ProblemShape) };

/** The cluster, its nodes, policies and work. */
export function clusterRoutes(app: App, service: NodeService): void {
  const volumes = () => service.volumes().map(({ value }) => value);
  app.get(
    '/health',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'Whether this daemon works',
        tags: ['cluster'],
        response: { 200: named(HealthShape), ...problem },
      },
    },
    async () => ({
      status:
        service.quarantine() !== null
          ? ('quarantined' as const)
          : service.storeConnected()
            ? ('ok' as const)
            : ('store-unavailable' as const),
      node: service.nodeName,
      version: service.version,
    }),
  );
  app.get(
    '/cluster',
    {
      schema: {
        operationId: 'getCluster',
        summary: 'The cluster at a glance',
        tags: ['cluster'],
        response: { 200: named(ClusterShape), ...problem },
      },
    },
    async () => clusterView(service),
  );
  app.get(
    '/nodes',
    {
      schema: {
        operationId: 'listNodes',
        summary: 'All nodes',
        tags: ['cluster'],
        response: { 200: Type.Object({ nodes: Type.Array(named(NodeShape)) }), ...problem },
      },
    },
    async () => {
      const all = volumes();
      const nodes = service.nodes().map((node) => nodeView(node, all));
      return { nodes: nodes.sort((a, b) => a.name.localeCompare(b.name)) };
    },
  );
  app.get(
    '/nodes/:name',
    {
      schema: {
        operationId: 'getNode',
        summary: 'One node',
        tags: ['cluster'],
        params: NodeParams,
        response: { 200: named(NodeShape), ...problem },
      },
    },
    async (request) => {
      const { name } = request.params;
      const nodes = service.nodes();
      const node = nodes.find((candidate) => candidate.name === name);
      if (node === undefined) {
        throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(name)}`, {
          hint: `Nodes: ${nodes.map((n) => n.name).join(', ')}.`,
          values: { node: name },
        });
      }
      return nodeView(node, volumes());
    },
  );
  app.get(
    '/policies',
    {
      schema: {
        operationId: 'listPolicies',
        summary: 'All policies',
        tags: ['cluster'],
        response: { 200: Type.Object({ policies: Type.Array(named(PolicyShape)) }), ...problem },
      },
    },
    async () => ({ policies: builtInPolicies.map(policyView) }),
  );
  app.get(
    '/work',
    {
      schema: {
        operationId: 'listWork',
        summary: 'Background work and its progress',
        tags: ['cluster'],
        querystring: WorkQuery,
        response: { 200: Type.Object({ work: Type.Array(named(WorkShape)) }), ...problem },
      },
    },
    async (request) => {
      const work = await service.work(request.query.scope !== 'node');
      const all = volumes();
      return { work: work.map((item) => workView(item, all)) };
    },
  );
}

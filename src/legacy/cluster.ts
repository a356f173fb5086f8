import type { NodeAnswer } from '../api/schemas.ts';
import { HyperscaleError } from '../errors.ts';
import type { Call } from './call.ts';
import { badParameter } from './err-codes.ts';
import { textField } from './fields.ts';

/**
 * What the drivers ask about the cluster. A node of ours is at once what the original product
 * called a data node (it holds copies) and a compute node (guests run on it); its id is its name.
 */

const gib = 2 ** 30;

/** The protocol's version, not ours: the Cinder driver accepts no other. */
export async function version(): Promise<string> {
  return '1.0.0';
}

export async function datanodeId({ daemon }: Call): Promise<string> {
  return daemon.node();
}

/** The capacity of the pool of the node that the message is meant for, in GiB. */
export async function getStats({ daemon, routingKey }: Call): Promise<unknown> {
  const name = routingKey ?? (await daemon.node());
  const node = (await nodesOf(daemon)).find((n) => n.name === name);
  if (node === undefined) {
    throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(name)}`, {
      hint: 'The routing key of this message is the name of a node: hscli node list shows all.',
    });
  }
  if (node.totalBytes === null || node.freeBytes === null) {
    throw new HyperscaleError('node-down', `node ${name} is down: its capacity is not known`, {
      hint: `hscli node show ${name}`,
    });
  }
  const stats = { total_capacity: inGib(node.totalBytes), free_capacity: inGib(node.freeBytes) };
  return { stats: [stats] };
}

/** Where the nodes are, for one side of the original product. */
export async function getConfiguration({ daemon, body }: Call): Promise<unknown> {
  const persona = textField(body, 'persona');
  const entry = entries[persona];
  if (entry === undefined) {
    throw new HyperscaleError('bad-input', `there is no persona ${JSON.stringify(persona)}`, {
      hint: `Personas are ${Object.keys(entries).join(', ')}.`,
      values: { errCode: badParameter },
    });
  }
  const nodes = await nodesOf(daemon);
  return { config_data: Object.fromEntries(nodes.map((node) => [node.name, entry(node)])) };
}

const entries: Readonly<Record<string, (node: NodeAnswer) => Record<string, string>>> = {
  compute: ({ name, address, up }) => ({
    compute_name: name,
    vsa_ip: address,
    vsa_isolated_ip: address,
    vsa_section_header: name,
    disabled: up ? '0' : '1',
  }),
  datanode: ({ name, address }) => ({
    hypervisor_id: name,
    datanode_name: name,
    data_ip: address,
  }),
  controller: ({ name, address }) => ({ controller_name: name, controller_ip: address }),
};

/** The nodes that could take a copy: a driver chooses the reflection's target among them. */
export async function getMembership({ daemon }: Call): Promise<unknown> {
  const up = (await nodesOf(daemon)).filter((node) => node.up);
  const members = up.map(({ name, address }) => [
    name,
    { personality: 'datanode', hypervisor_id: name, data_ip: address },
  ]);
  return { of_membership: Object.fromEntries(members) };
}

/** Every node tells its capacity by itself; what a driver adds to that is not needed. */
export async function setStats({ daemon }: Call): Promise<unknown> {
  await daemon.node();
  return {};
}

/** There are no workflows here that could wait for a word. */
export async function executeWorkflow({ daemon }: Call): Promise<unknown> {
  await daemon.node();
  return {};
}

async function nodesOf(daemon: Call['daemon']): Promise<NodeAnswer[]> {
  return (await daemon.ask<{ nodes: NodeAnswer[] }>('GET', '/v1/nodes')).nodes;
}

/** To hundredths, and never more than there is. */
function inGib(bytes: number): number {
  return Math.floor((bytes / gib) * 100) / 100;
}

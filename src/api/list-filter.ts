import { HyperscaleError } from '../errors.ts';
import { consumersOf } from '../volume/attachments.ts';
import { policyNamed } from '../volume/policy.ts';
import type { NodeView, Volume } from '../volume/types.ts';

/** What lists are narrowed by. Every value is checked, so that a typing error is not an empty list. */

/** Before a metadata key in a query: `metadata.tier=2`. */
export const metadataPrefix = 'metadata.';

export type VolumeFilter = {
  name?: string | undefined;
  policy?: string | undefined;
  node?: string | undefined;
  attached?: 'true' | 'false' | undefined;
  [metadata: `metadata.${string}`]: string | undefined;
};

/** A test of names: `*` stands for any characters, anything else for itself. @throws `bad-input` */
export function nameFilter(wanted: string | undefined, field = 'name'): (name: string) => boolean {
  if (wanted === undefined) return () => true;
  if (!/^[A-Za-z0-9._*-]{1,128}$/.test(wanted)) {
    throw new HyperscaleError('bad-input', `${field} ${JSON.stringify(wanted)} is not valid`, {
      hint: 'Letters, digits, ".", "_" and "-"; "*" stands for any characters.',
      values: { field, value: wanted },
    });
  }
  const [first = '', ...rest] = wanted.split('*');
  const last = rest.pop();
  if (last === undefined) return (name) => name === first;
  return (name) => {
    if (!name.startsWith(first) || !name.endsWith(last)) return false;
    let at = first.length;
    // The first place of each part is as good as any later one, so this takes no long search.
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at + last.length <= name.length;
  };
}

/** A test of policies; case does not matter. @throws `bad-input` */
export function policyFilter(wanted: string | undefined): (volume: Volume) => boolean {
  if (wanted === undefined) return () => true;
  const { name } = policyNamed(wanted);
  return (volume) => volume.policy.name === name;
}

/**
 * Everything about volumes that is asked for, except their health.
 * @throws `bad-input`, `not-found` for a node that there is not.
 */
export function volumeFilter(
  wanted: VolumeFilter,
  nodes: readonly NodeView[],
): (volume: Volume) => boolean {
  const { node, attached } = wanted;
  const named = nameFilter(wanted.name);
  const tests: ((volume: Volume) => boolean)[] = [
    (volume) => named(volume.name),
    policyFilter(wanted.policy),
  ];
  if (node !== undefined) {
    mustBeKnown(node, nodes);
    tests.push((volume) => isOn(volume, node));
  }
  if (attached !== undefined) {
    tests.push((volume) => consumersOf(volume).length > 0 === (attached === 'true'));
  }
  for (const [key, value] of Object.entries(wanted)) {
    if (!key.startsWith(metadataPrefix)) continue;
    const name = key.slice(metadataPrefix.length);
    tests.push((volume) => volume.metadata?.[name] === value);
  }
  return (volume) => tests.every((test) => test(volume));
}

/** @throws `not-found` */
function mustBeKnown(node: string, nodes: readonly NodeView[]): void {
  if (nodes.some((n) => n.name === node)) return;
  throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(node)}`, {
    hint: 'List them with: hscli node list',
    values: { field: 'node', value: node },
  });
}

/** It is attached there, served there, or has data there. */
function isOn({ attachments, chain, tail }: Volume, node: string): boolean {
  if (attachments.some((a) => a.host === node)) return true;
  if (tail.phase === 'open' && tail.layer.members.some((m) => m.node === node)) return true;
  return chain.some((layer) => layer.replicas.some((r) => r.node === node));
}

import { HyperscaleError } from '../errors.ts';
import type { Body } from './argument.ts';
import { badParameter } from './err-codes.ts';
import { numberField } from './fields.ts';

/**
 * The original product's flavors, by priority: their number is the `volume_qos` of a create, and
 * their place here the number of reflections of our policy of that name.
 */
const flavors = ['Bronze', 'Silver', 'Gold'] as const;

export type Flavor = (typeof flavors)[number];

/**
 * The policy of a volume to be created: the weakest one that has as many copies as asked for
 * (`dn_reflection_factor`, 0 when absent) and is not below the flavor asked for (`volume_qos`: a
 * flavor's name, or its priority 1 to 3).
 * @throws `bad-input`
 */
export function policyOf(body: Body): Flavor {
  const most = flavors.length - 1;
  const reflections = numberField(body, 'dn_reflection_factor', { least: 0, most, otherwise: 0 });
  return flavors[Math.max(reflections, rankOf(body))] ?? 'Gold';
}

/** How many copies beyond the first a policy of that name has. */
export function reflectionsOf(flavor: Flavor): number {
  return flavors.indexOf(flavor);
}

function rankOf(body: Body): number {
  const { volume_qos: qos } = body;
  if (typeof qos !== 'string' || /^\d*$/.test(qos)) {
    return numberField(body, 'volume_qos', { least: 1, most: flavors.length, otherwise: 1 }) - 1;
  }
  const rank = flavors.findIndex((flavor) => flavor.toLowerCase() === qos.toLowerCase());
  if (rank < 0) {
    const text = `"volume_qos" is ${JSON.stringify(qos.slice(0, 60))}, which is no flavor`;
    throw new HyperscaleError('bad-input', text, {
      hint: `Flavors are ${flavors.join(', ')}, or their priorities 1 to ${flavors.length}.`,
      values: { errCode: badParameter },
    });
  }
  return rank;
}

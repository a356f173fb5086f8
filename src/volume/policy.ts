import { HyperscaleError } from '../errors.ts';
import type { Policy } from './types.ts';

/**
 * The built-in policies. Reflections and maximum IOPS are those of the original product's flavors
 * (Gold, Silver, Bronze).
 */
export const builtInPolicies: readonly Policy[] = [
  { name: 'Gold', reflections: 2, maxIops: 30_000, maxLayers: 8 },
  { name: 'Silver', reflections: 1, maxIops: 20_000, maxLayers: 8 },
  { name: 'Bronze', reflections: 0, maxIops: 10_000, maxLayers: 8 },
];

/** The policy of that name; case does not matter. @throws `bad-input` when there is none. */
export function policyNamed(name: string): Policy {
  const found = builtInPolicies.find((p) => p.name.toLowerCase() === name.toLowerCase());
  if (found === undefined) {
    throw new HyperscaleError('bad-input', `there is no policy ${JSON.stringify(name)}`, {
      hint: `Use one of ${builtInPolicies.map((p) => p.name).join(', ')}.`,
    });
  }
  return { ...found };
}

/** How many copies of every layer the policy asks for. */
export function copiesWanted(policy: Policy): number {
  return policy.reflections + 1;
}

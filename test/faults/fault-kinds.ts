/** All kinds of faults. */
import { HyperscaleError } from '../../src/errors.ts';
import type { FaultKind } from './fault.ts';
import { hostFaults } from './host-faults.ts';
import { processFaults } from './process-faults.ts';
import { storeFaults } from './store-faults.ts';

export const faultKinds: readonly FaultKind[] = [...processFaults, ...storeFaults, ...hostFaults];

/** @throws HyperscaleError `bad-input` naming those that there are */
export function faultKind(name: string): FaultKind {
  const found = faultKinds.find(({ kind }) => kind === name);
  if (found !== undefined) return found;
  throw new HyperscaleError('bad-input', `there is no fault '${name}'`, {
    hint: `Faults are ${faultKinds.map(({ kind }) => kind).join(', ')}.`,
  });
}

import { withLimits } from './limits.ts';
import type { Limits, Policy, Volume, VolumeId } from './types.ts';

/** A new volume: nothing written, nobody attached. Its first layer comes with the first attach. */
export function createVolume(request: {
  id: VolumeId;
  name: string;
  sizeBytes: number;
  policy: Policy;
  /** Others than those of the policy. */
  limits?: Limits;
  createdAt: string;
}): Volume {
  const { limits, ...rest } = request;
  const volume: Volume = {
    schema: 1,
    ...rest,
    epoch: 0,
    attachments: [],
    chain: [],
    tail: { phase: 'idle' },
    merge: null,
    garbage: [],
    operation: '',
  };
  return limits === undefined ? volume : withLimits(volume, limits);
}

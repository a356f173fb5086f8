import type { Policy, Volume, VolumeId } from './types.ts';

/** A new volume: nothing written, nobody attached. Its first layer comes with the first attach. */
export function createVolume(request: {
  id: VolumeId;
  name: string;
  sizeBytes: number;
  policy: Policy;
  createdAt: string;
}): Volume {
  return {
    schema: 1,
    ...request,
    epoch: 0,
    attachments: [],
    chain: [],
    tail: { phase: 'idle' },
    merge: null,
    garbage: [],
    operation: '',
  };
}

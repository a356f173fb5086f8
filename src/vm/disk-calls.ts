/** `VmDisksHere` of other nodes. */

import type { VmNodeCalls } from './node-calls.ts';
import type { VmContext } from './vm-context.ts';

/** Calls to the daemons of other nodes, one POST for each method (api/routes/vms.ts). */
export function diskCalls(calls: Pick<VmNodeCalls, 'ask'>): VmContext['far'] {
  return (node, options) => {
    const ask = <T>(method: string, body: object): Promise<T> =>
      calls.ask<T>(node, method, body, options);
    return {
      find: (vm) => ask('find', { vm }),
      list: () => ask('list', {}),
      attachDisk: (request) => ask('attachDisk', request),
      detachDisk: (request) => ask('detachDisk', request),
    };
  };
}

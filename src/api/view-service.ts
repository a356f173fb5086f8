import type { NodeName, VolumeId } from '../volume/types.ts';
import type { Endpoint } from './service.ts';

/** What is opened to be read once: its endpoint is on the node that was asked. */
export type OpenView = { id: VolumeId; sizeBytes: number; endpoint: Endpoint };

/** Read-only endpoints on what snapshots, volumes and images hold. All take constant time. */
export interface ViewService {
  /**
   * Shows a snapshot on a host until it is detached there, or the host is gone. Again it finds the
   * endpoint that there is.
   * @throws `not-found`, `node-down`, `no-space`
   */
  attach(
    of: { volume: string; snapshot: string },
    host: NodeName,
    signal: AbortSignal,
  ): Promise<Endpoint>;
  /** Resolves when nothing of it is served any more; what is not attached is fine. */
  detach(
    of: { volume: string; snapshot: string },
    host: NodeName,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Shows what a volume or an image holds now, or a snapshot of it, on this node. It goes when it is
   * closed, or when nobody has been connected for a minute.
   */
  open(source: { volume: string; snapshot: string | null }, signal: AbortSignal): Promise<OpenView>;
  /** One that is not there is fine. */
  close(id: VolumeId, signal: AbortSignal): Promise<void>;
}

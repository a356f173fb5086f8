import { HyperscaleError } from '../errors.ts';
import type { Limits } from '../volume/types.ts';
import { connectionsOf } from './connections.ts';
import type { HeadFault, HeadHandle, HeadSpec, HeadState } from './engine.ts';
import { localMember, peerMember, sessionExport, sessionExportId } from './head-graph.ts';
import { checkSessionId } from './ids.ts';
import type { QmpEvent } from './qmp.ts';
import type { StorageDaemon } from './storage-daemon.ts';
import { setThrottle } from './throttle.ts';

/** A head that serves. */
export class Head implements HeadHandle {
  readonly #daemon: StorageDaemon;
  readonly #spec: HeadSpec;
  readonly #sessions: Set<string>;
  #limits: Limits;
  readonly #faults: HeadFault[] = [];
  #listener: ((fault: HeadFault) => void) | undefined;
  /** Its end was asked for, so it is no fault. */
  #ending = false;

  /**
   * @param openFile this node's file of the open layer.
   * @param now its sessions and limits at this time. Faults of the time before, which a daemon that is gone may
   *   not have seen, are reported again.
   */
  constructor(
    daemon: StorageDaemon,
    spec: HeadSpec,
    openFile: string,
    now: { sessions: string[]; limits: Limits },
  ) {
    this.#daemon = daemon;
    this.#spec = spec;
    if (spec.open.local) daemon.writes.add(openFile);
    this.#sessions = new Set(now.sessions);
    this.#limits = now.limits;
    for (const event of daemon.events()) this.#memberEvent(event);
    daemon.onEvent((event) => this.#memberEvent(event));
    const died = () => {
      if (!this.#ending) this.#fault({ kind: 'died' });
    };
    // A killed process that does not go can still not be used.
    daemon.ended.then(died, died);
  }

  get state(): HeadState {
    const { volume, open, sealed } = this.#spec;
    return {
      volume,
      layer: open.layer.layer,
      epoch: open.layer.epoch,
      sizeBytes: this.#spec.sizeBytes,
      pid: this.#daemon.identity.pid,
      sessions: [...this.#sessions],
      sealed: sealed.map(({ layer, peers, fromBackup }) => ({
        layer: layer.layer,
        from: peers[0]?.node ?? null,
        fromBoot: peers[0]?.boot ?? null,
        ...(fromBackup === true && peers[0] !== undefined ? { backupPort: peers[0].port } : {}),
      })),
      peers: open.peers.map((peer) => peer.node),
      limits: this.#limits,
    };
  }

  onFault(listener: (fault: HeadFault) => void): void {
    this.#listener = listener;
    for (const fault of this.#faults.splice(0)) listener(fault);
  }

  async addSession(session: string): Promise<void> {
    checkSessionId(session);
    if (this.#sessions.has(session)) return;
    await this.#daemon.execute('block-export-add', sessionExport(session, this.#spec.readOnly));
    this.#sessions.add(session);
  }

  async removeSession(session: string, timeoutMs: number): Promise<void> {
    if (!this.#sessions.has(session)) return;
    await this.#daemon.removeExport(sessionExportId(session), timeoutMs);
    this.#sessions.delete(session);
  }

  async setLimits(limits: Limits): Promise<void> {
    await setThrottle(this.#daemon, limits);
    this.#limits = limits;
  }

  async stop(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    const left = () => Math.max(1, Math.ceil(deadline - performance.now()));
    this.#ending = true;
    try {
      await Promise.all([...this.#sessions].map((session) => this.removeSession(session, left())));
    } catch {
      this.#ending = false;
      return false;
    }
    if (!(await this.#daemon.quit(left()))) {
      this.#ending = false;
      return false;
    }
    return !this.#daemon.events().some((event) => this.#memberFault(event) !== undefined);
  }

  async kill(): Promise<void> {
    this.#ending = true;
    await this.#daemon.kill();
  }

  connections(): number {
    return connectionsOf(this.#daemon.identity.pid);
  }

  #memberEvent(event: QmpEvent): void {
    const fault = this.#memberFault(event);
    if (fault !== undefined) this.#fault(fault);
  }

  /** A member that answered a write or flush with an error. A failed read is repeated elsewhere. */
  #memberFault({ event, data }: QmpEvent): HeadFault | undefined {
    if (event !== 'QUORUM_REPORT_BAD' || data.type === 'read') return undefined;
    const error = typeof data.error === 'string' ? data.error : 'unknown error';
    return { kind: 'member-error', node: this.#memberNode(data['node-name']), error };
  }

  #memberNode(name: unknown): string | null {
    if (name === localMember) return null;
    const index = this.#spec.open.peers.findIndex((_, i) => peerMember(i) === name);
    const peer = this.#spec.open.peers[index];
    if (peer !== undefined) return peer.node;
    throw new HyperscaleError('internal', `QEMU names an unknown member ${String(name)}`);
  }

  #fault(fault: HeadFault): void {
    if (this.#listener === undefined) this.#faults.push(fault);
    else this.#listener(fault);
  }
}

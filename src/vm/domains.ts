/** What the libvirt of this node says of its domains, as far as records and moves need it. */
import { isHyperscaleError } from '../errors.ts';
import { domainIdentity } from '../libvirt/domain-xml.ts';
import type { Virsh } from '../libvirt/virsh.ts';
import { volumesOf } from './disks.ts';
import type { Presence } from './migration-end.ts';
import type { DomainSeen } from './record.ts';

/** virDomainJobOperation of libvirt-domain.h: a migration from here to another host. */
const migrationOut = '5';

/** How a migration went, by libvirt's own measure. */
export type MigrationFigures = {
  /** From the beginning until the guest ran at the destination, milliseconds. */
  totalMs: number | null;
  /** How long no virtual CPU ran, milliseconds. */
  downtimeMs: number | null;
  /** Memory that was sent, bytes. */
  sentBytes: number | null;
};

/** How far a migration is. */
export type MigrationSent = { sentBytes: number; remainingBytes: number; totalBytes: number };

export class Domains {
  readonly virsh: Virsh;
  readonly #isVolume: (id: string) => boolean;

  constructor(virsh: Virsh, isVolume: (id: string) => boolean) {
    this.virsh = virsh;
    this.#isVolume = isVolume;
  }

  /** The UUIDs of all domains, running or shut off. */
  async uuids(): Promise<string[]> {
    const text = await this.virsh.run(['list', '--all', '--uuid']);
    return text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  }

  /** Null when there is no domain of that name. */
  async uuidOf(name: string): Promise<string | null> {
    try {
      return (await this.virsh.run(['domuuid', '--domain', name])).trim();
    } catch (error) {
      if (isHyperscaleError(error, 'not-found')) return null;
      throw error;
    }
  }

  async presence(uuid: string): Promise<Presence> {
    try {
      const state = await this.virsh.run(['domstate', '--domain', uuid, '--reason']);
      if (/^(shut off|crashed)/.test(state)) return 'defined';
      if (/^paused \((migrating|starting up)\)/.test(state)) {
        return (await this.#job(uuid)).operation === migrationOut ? 'outgoing' : 'incoming';
      }
      return (await this.#job(uuid)).operation === migrationOut ? 'outgoing' : 'active';
    } catch (error) {
      if (isHyperscaleError(error, 'not-found')) return 'absent';
      throw error;
    }
  }

  /** The domain as it is recorded; null when it is not here, or is on its way. */
  async see(uuid: string): Promise<DomainSeen | null> {
    const presence = await this.presence(uuid);
    if (presence !== 'active' && presence !== 'defined') return null;
    try {
      const liveXml = presence === 'active' ? await this.#xml(uuid, '--migratable') : null;
      const isPersistent = liveXml === null || (await this.isPersistent(uuid));
      const xml = isPersistent ? await this.#xml(uuid, '--inactive') : null;
      const known = liveXml ?? xml ?? '';
      const isVolume = this.#isVolume;
      const { name } = domainIdentity(known);
      return { uuid, name, presence, xml, liveXml, volumes: volumesOf(known, isVolume) };
    } catch (error) {
      if (isHyperscaleError(error, 'not-found')) return null;
      throw error;
    }
  }

  async isPersistent(uuid: string): Promise<boolean> {
    return /^Persistent:\s+yes/m.test(await this.virsh.run(['dominfo', '--domain', uuid]));
  }

  /** How far the migration from here is; null when there is none, or nothing is known yet. */
  async sent(uuid: string): Promise<MigrationSent | null> {
    const job = await this.#job(uuid);
    const [sent, remaining, total] = ['processed', 'remaining', 'total'].map((field) =>
      Number(job[`memory_${field}`] ?? 0),
    );
    if (job.operation !== migrationOut || !total) return null;
    return { sentBytes: sent ?? 0, remainingBytes: remaining ?? 0, totalBytes: total };
  }

  /** Of the migration that brought the domain here. */
  async figures(uuid: string): Promise<MigrationFigures> {
    const job = await this.#job(uuid, '--completed', '--keep-completed');
    const number = (field: string) => (job[field] === undefined ? null : Number(job[field]));
    return {
      totalMs: number('time_elapsed'),
      downtimeMs: number('downtime'),
      sentBytes: number('memory_processed'),
    };
  }

  /** Ends a domain at once, as pulling its plug, and forgets its definition. Absent is fine. */
  async remove(uuid: string): Promise<void> {
    for (const command of [['destroy'], ['undefine', '--nvram', '--managed-save']]) {
      const [name = '', ...options] = command;
      const presence = await this.presence(uuid);
      if (presence === 'absent' || (name === 'destroy' && presence === 'defined')) continue;
      try {
        await this.virsh.run([name, '--domain', uuid, ...options]);
      } catch (error) {
        // A transient domain is gone with its end.
        if ((await this.presence(uuid)) !== 'absent') throw error;
      }
    }
  }

  #xml(uuid: string, which: '--migratable' | '--inactive'): Promise<string> {
    return this.virsh.run(['dumpxml', '--domain', uuid, which, '--security-info']);
  }

  /** The fields of `virsh domjobinfo --rawstats`; none when no job is known. */
  async #job(uuid: string, ...options: string[]): Promise<Record<string, string>> {
    try {
      const stats = ['domjobinfo', '--domain', uuid, '--rawstats', ...options];
      const lines = (await this.virsh.run(stats)).split('\n');
      return Object.fromEntries(
        lines.flatMap((line) => {
          const [, name, value] = /^(\w+): (\d+)$/.exec(line.trim()) ?? [];
          return name === undefined || value === undefined ? [] : [[name, value]];
        }),
      );
    } catch (error) {
      // libvirt tells of an incoming migration only that it knows nothing of it.
      if (isHyperscaleError(error, 'libvirt')) return {};
      throw error;
    }
  }
}

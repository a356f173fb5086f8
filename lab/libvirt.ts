/** A real libvirtd for a node host of a lab, with everything of its own that a host has. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HyperscaleError } from '../src/errors.ts';
import { Virsh } from '../src/libvirt/virsh.ts';
import { ended, spawnLogged, untilAnswering } from './child.ts';
import { keepCapabilities, recallCapabilities } from './libvirt-cache.ts';
import type { LabNode } from './node.ts';
import { signal } from './processes.ts';

/** How long the first start may take; libvirtd asks QEMU what it can do. */
const startWithinMs = 60_000;

/** Where libvirt keeps its files, and the part of the lab's directory that stands for it. */
const places = [
  ['/etc/libvirt', 'etc'],
  ['/var/lib/libvirt', 'lib'],
  ['/var/cache/libvirt', 'cache'],
  ['/var/log/libvirt', 'log'],
] as const;

export type LibvirtOptions = {
  /** The user and group that guests run as; root when absent. */
  user?: string;
};

/**
 * The libvirtd of a lab node: in the node's network namespace and in a mount and a uts namespace of
 * its own, so with a host name, a host UUID and directories of its own. It listens for migrations
 * on the node's address and asks nobody for a password. It and its guests end with the lab and at
 * the node's `powerCut`; after `boot`, `start` it again: what was defined is still there.
 *
 * ```ts
 * const libvirt = await LabLibvirt.start(cluster.node('n1'));
 * await libvirt.virsh.run(['list', '--all']);
 * ```
 */
export class LabLibvirt {
  readonly node: LabNode;
  /** Reaches it from anywhere on this machine. */
  readonly uri: string;
  /** Where other nodes of the lab send a guest. */
  readonly migrationUri: string;
  readonly virsh: Virsh;
  readonly logFile: string;
  readonly #directory: string;
  readonly #runDirectory: string;
  readonly #user: string;
  #daemon: ChildProcess | undefined;

  private constructor(node: LabNode, options: LibvirtOptions) {
    this.node = node;
    this.#user = options.user ?? 'root';
    this.#directory = join(node.directory, 'libvirt');
    // Emptied by a power cut, as the tmpfs of a real host.
    this.#runDirectory = join(node.runDirectory, 'libvirt');
    this.uri = libvirtUri(node);
    this.migrationUri = `qemu+tcp://${node.address}/system`;
    this.virsh = new Virsh(this.uri);
    this.logFile = join(node.directory, 'log', 'libvirtd.log');
  }

  /** Starts libvirtd for a node; resolves once it answers. Also right after a power cut. */
  static async start(node: LabNode, options: LibvirtOptions = {}): Promise<LabLibvirt> {
    const libvirt = new LabLibvirt(node, options);
    await libvirt.start();
    return libvirt;
  }

  /** Starts it again, after `stop`, `kill` or a power cut of its node. */
  async start(): Promise<void> {
    await this.#noticeDeath();
    if (this.running) {
      throw new HyperscaleError('already-running', `libvirtd of node '${this.node.name}' runs`);
    }
    this.#writeFiles();
    recallCapabilities(join(this.#directory, 'cache'));
    const command = ['unshare', '--mount', '--uts', '--', 'sh', '-euc', this.#script()];
    const inNode = ['nsenter', `--net=/run/netns/${this.node.namespace}`, '--', ...command];
    this.#daemon = spawnLogged(inNode, this.logFile);
    const answers = async (): Promise<boolean> =>
      existsSync(join(this.#runDirectory, 'libvirt-sock')) &&
      this.virsh.run(['uri']).then(
        () => true,
        () => false,
      );
    await untilAnswering('libvirtd', this.#daemon, this.logFile, answers, startWithinMs);
    keepCapabilities(join(this.#directory, 'cache'));
  }

  /** Waits for the news of its end when a power cut has killed it. */
  async #noticeDeath(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon?.pid !== undefined && !this.node.pids().includes(daemon.pid)) await ended(daemon);
  }

  get running(): boolean {
    return this.#daemon?.exitCode === null && this.#daemon.signalCode === null;
  }

  /** Ends libvirtd alone; guests run on. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends libvirtd alone by SIGKILL; guests run on. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(name: NodeJS.Signals): Promise<void> {
    if (this.#daemon?.pid === undefined || !this.running) return;
    const end = ended(this.#daemon);
    signal(this.#daemon.pid, name);
    await end;
  }

  #writeFiles(): void {
    for (const [, part] of places) mkdirSync(join(this.#directory, part), { recursive: true });
    mkdirSync(this.#runDirectory, { recursive: true });
    // Guests of another user than root go through it to their monitors.
    execFileSync('chmod', ['-R', 'a+rx', this.#runDirectory]);
    const { name, address } = this.node;
    const write = (file: string, lines: string[]): void =>
      writeFileSync(join(this.#directory, file), `${lines.join('\n')}\n`);
    write('libvirtd.conf', [
      'listen_tls = 0',
      'listen_tcp = 1',
      `listen_addr = "${address}"`,
      'auth_tcp = "none"',
      'auth_unix_rw = "none"',
      'auth_unix_ro = "none"',
      'unix_sock_rw_perms = "0777"',
      `host_uuid = "${this.#hostUuid()}"`,
      'log_outputs = "2:stderr"',
    ]);
    write('etc/qemu.conf', [
      `user = "${this.#user}"`,
      `group = "${this.#user}"`,
      'dynamic_ownership = 0',
      'remember_owner = 0',
      'security_driver = "none"',
      'namespaces = [ ]',
      'cgroup_controllers = [ ]',
      // No virtlogd runs.
      'stdio_handler = "file"',
      `migration_address = "${address}"`,
      `migration_host = "${address}"`,
    ]);
    write('hosts', ['127.0.0.1 localhost', `${address} ${name}`]);
    write('no-kvm', []);
  }

  /** libvirt refuses to migrate between equal ones. */
  #hostUuid(): string {
    const file = join(this.#directory, 'host_uuid');
    if (!existsSync(file)) writeFileSync(file, randomUUID());
    return readFileSync(file, 'utf8');
  }

  /** Makes the host that libvirtd sees, and becomes libvirtd. */
  #script(): string {
    const part = (name: string): string => join(this.#directory, name);
    const binds: [string, string][] = [
      ...places.map(([place, name]): [string, string] => [part(name), place]),
      [this.#runDirectory, '/run/libvirt'],
      [part('hosts'), '/etc/hosts'],
    ];
    const pidFile = join(this.#runDirectory, 'libvirtd.pid');
    return [
      `hostname '${this.node.name}'`,
      `mkdir -p /run/libvirt ${places.map(([place]) => place).join(' ')}`,
      ...binds.map(([from, to]) => `mount --bind '${from}' '${to}'`),
      // Guests of a lab are emulated: KVM may be there and hang. Not writable, or libvirt asks QEMU
      // about it again and again, for seconds each time.
      `if [ -e /dev/kvm ]; then mount --bind '${part('no-kvm')}' /dev/kvm`,
      'mount -o remount,bind,ro /dev/kvm; fi',
      `exec libvirtd --listen --config '${part('libvirtd.conf')}' --pid-file '${pidFile}'`,
    ].join('\n');
  }
}

/** The URI of the libvirtd of a lab node, whether it runs or not, for the node's configuration. */
export function libvirtUri(node: Pick<LabNode, 'runDirectory'>): string {
  return `qemu+unix:///system?socket=${join(node.runDirectory, 'libvirt', 'libvirt-sock')}`;
}

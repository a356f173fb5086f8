/** A node host of a lab: its directories, its namespace, its daemon and all other processes. */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { errorText, HyperscaleError } from '../src/errors.ts';
import { LabApi } from './api.ts';
import { binDirectory, ended, inNamespace, spawnLogged, tail, untilAnswering } from './child.ts';
import { libvirtUri } from './libvirt.ts';
import { unmountBelow } from './mounts.ts';
import type { LabNetwork } from './net.ts';
import { killUntilNone, pidsInNamespace, type Role, roleOf, signal } from './processes.ts';

const execute = promisify(execFile);

/** So long before everything else the watchdog of a host goes on that stood still. */
const watchdogAheadMs = 50;

/** What a node's configuration file says beyond its name, address and directories. */
export type NodeSettings = Record<string, unknown> & { etcd: 'managed' | string[] };

export class LabNode {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly poolDirectory: string;
  readonly runDirectory: string;
  /** Where links to block devices go. Unlike a real host's /dev it survives a power cut. */
  readonly deviceDirectory: string;
  readonly logFile: string;
  readonly configFile: string;
  readonly socketPath: string;
  readonly api: LabApi;
  readonly #bootIdFile: string;
  readonly #network: LabNetwork;
  #poolMade = false;
  #hasPool = true;
  #lostStack = false;
  #daemon: ChildProcess | undefined;

  /** `base` is the lab's directory; the host `name` must exist in `network`. */
  constructor(network: LabNetwork, base: string, name: string, settings: NodeSettings) {
    this.#network = network;
    this.name = name;
    this.address = network.address(name);
    this.directory = join(base, name);
    this.poolDirectory = join(this.directory, 'pool');
    this.runDirectory = join(this.directory, 'run');
    this.deviceDirectory = join(this.directory, 'dev');
    this.logFile = join(this.directory, 'log', 'hyperscaled.log');
    this.configFile = join(this.directory, 'etc', 'hyperscale.yaml');
    this.socketPath = join(this.runDirectory, 'api.sock');
    this.#bootIdFile = join(this.directory, 'boot_id');
    this.api = new LabApi(this.socketPath);
    for (const part of ['pool', 'run', 'log', 'etc']) {
      mkdirSync(join(this.directory, part), { recursive: true });
    }
    this.#newBootId();
    this.configure(settings);
  }

  /** Writes the configuration file; a running daemon does not notice. */
  configure(settings: NodeSettings): void {
    const config = {
      node: this.name,
      address: this.address,
      pool: this.poolDirectory,
      stateDirectory: join(this.directory, 'state'),
      runDirectory: this.runDirectory,
      logDirectory: join(this.directory, 'log'),
      deviceDirectory: this.deviceDirectory,
      bootIdFile: this.#bootIdFile,
      // Never the libvirt of this machine; see lab/libvirt.ts.
      libvirt: { uri: libvirtUri(this), migrationUri: 'qemu+tcp://{address}/system' },
      space: { reserveBytes: 2 ** 20 },
      ...settings,
    };
    this.#hasPool = settings.pool !== 'none';
    writeFileSync(this.configFile, stringify(config));
  }

  #newBootId(): void {
    writeFileSync(this.#bootIdFile, `${randomUUID()}\n`);
  }

  get namespace(): string {
    return this.#network.namespace(this.name);
  }

  /** Makes the pool, if it has one, on the first call; starts the daemon; resolves once it answers. */
  async start(timeoutMs = 60_000): Promise<void> {
    if (!this.#poolMade && this.#hasPool) {
      await this.exec([
        join(binDirectory, 'hyperscaled'),
        'init-pool',
        '--config',
        this.configFile,
      ]);
      this.#poolMade = true;
    }
    await this.waitReady(this.spawnDaemon(), timeoutMs);
  }

  /** Starts the daemon and does not wait. */
  spawnDaemon(): ChildProcess {
    const command = [join(binDirectory, 'hyperscaled'), '--config', this.configFile];
    this.#daemon = spawnLogged(inNamespace(this.namespace, command), this.logFile);
    return this.#daemon;
  }

  /** Resolves once the daemon answers `GET /v1/health` with 200; see `untilAnswering`. */
  async waitReady(daemon: ChildProcess, timeoutMs = 60_000): Promise<void> {
    const answers = async (): Promise<boolean> => {
      // Refused or no socket yet: it is still starting. Why it never gets ready is in its log.
      const answer = await this.api.request('GET', '/v1/health').catch(() => undefined);
      return answer?.status === 200;
    };
    await untilAnswering('hyperscaled', daemon, this.logFile, answers, timeoutMs);
  }

  /** True while a daemon started by this object runs (or is stopped by `freeze`). */
  get running(): boolean {
    return this.#daemon?.exitCode === null && this.#daemon.signalCode === null;
  }

  /** Ends the daemon by SIGTERM and waits for it; heads and replica servers run on. */
  async stopDaemon(): Promise<string> {
    return this.#endDaemon('SIGTERM');
  }

  /** Ends the daemon alone by SIGKILL and waits for it. */
  async killDaemon(): Promise<string> {
    return this.#endDaemon('SIGKILL');
  }

  async #endDaemon(name: NodeJS.Signals): Promise<string> {
    const daemon = this.#daemon;
    if (daemon?.pid === undefined || !this.running) {
      throw new HyperscaleError('not-allowed', `the daemon of node '${this.name}' does not run`);
    }
    const end = ended(daemon);
    signal(daemon.pid, name);
    return end;
  }

  /**
   * Ends every process on the host at once by SIGKILL, empties the run directory (a tmpfs on a
   * real host) and changes the boot id. Blocks until nothing is left. The page cache survives:
   * what was written and not synced is still there, unlike on a host.
   *
   * Without options the kernel of the host still closes its connections, so peers see resets;
   * with `silent` its link goes down first and peers hear nothing at all, as at a real power cut.
   */
  async powerCut(options: { silent?: boolean } = {}): Promise<void> {
    if (options.silent === true) {
      await this.#network.cut(this.name);
      this.#lostStack = true;
    }
    killUntilNone(() => this.pids());
    if (this.#daemon !== undefined) {
      await ended(this.#daemon);
    }
    unmountBelow(this.runDirectory);
    for (const entry of readdirSync(this.runDirectory)) {
      rmSync(join(this.runDirectory, entry), { recursive: true, force: true });
    }
    this.#newBootId();
  }

  /** Starts a host again after `powerCut`; resolves once its daemon answers. */
  async boot(timeoutMs = 60_000): Promise<void> {
    if (this.#lostStack) {
      await this.#network.rebuild(this.name);
      this.#lostStack = false;
    }
    await this.start(timeoutMs);
  }

  /** Stops (SIGSTOP) all processes of the host, or those of one role. */
  freeze(options: { only?: Role } = {}): void {
    this.#signalAll('SIGSTOP', options.only);
  }

  /**
   * Undoes `freeze`. Of a whole host the watchdog goes on first, as the scheduler of a real one lets
   * it by its priority; signals that are sent one by one would not show that.
   */
  async thaw(options: { only?: Role } = {}): Promise<void> {
    if (options.only === undefined) {
      for (const pid of this.pids('watchdog')) signal(pid, 'SIGCONT');
      await sleep(watchdogAheadMs);
    }
    this.#signalAll('SIGCONT', options.only);
  }

  /** SIGKILLs all processes of one role, once; the daemon may start new ones at once. */
  kill(role: Role): void {
    this.#signalAll('SIGKILL', role);
  }

  #signalAll(name: NodeJS.Signals, role: Role | undefined): void {
    const pids = this.pids(role);
    if (role !== undefined && pids.length === 0) {
      throw new HyperscaleError('not-found', `no ${role} process runs on node '${this.name}'`);
    }
    for (const pid of pids) {
      signal(pid, name);
    }
  }

  /** Pids of the host's living processes, all or those of one role. */
  pids(role?: Role): number[] {
    const pids = pidsInNamespace(this.namespace);
    return role === undefined
      ? pids
      : pids.filter((pid) => roleOf(pid, this.runDirectory) === role);
  }

  /** Runs a command on the host to its end and returns its output; rejects with its stderr. */
  async exec(command: string[], timeoutMs = 60_000): Promise<string> {
    return run(inNamespace(this.namespace, command), timeoutMs);
  }

  /** Starts a command on the host; it dies at the next `powerCut`. */
  spawn(command: string[], options: SpawnOptions = {}): ChildProcess {
    const [program = '', ...args] = inNamespace(this.namespace, command);
    return spawn(program, args, options);
  }

  /** Runs `hscli ARGS --json` against this node and returns what it printed. */
  async hscli<T = unknown>(...args: string[]): Promise<T> {
    const env = { ...process.env, HYPERSCALE_SOCKET: this.socketPath };
    const output = await run([join(binDirectory, 'hscli'), ...args, '--json'], 120_000, env);
    return (output.trim() === '' ? undefined : JSON.parse(output)) as T;
  }

  /** The last lines of the daemon's log. */
  logTail(lines = 20): string {
    return tail(this.logFile, lines);
  }

  /** Lets this process end while the host runs on. */
  async detach(): Promise<void> {
    this.#daemon?.unref();
    await this.api.close();
  }
}

async function run(command: string[], timeout: number, env = process.env): Promise<string> {
  const [program = '', ...args] = command;
  try {
    const { stdout } = await execute(program, args, { timeout, env, maxBuffer: 64 << 20 });
    return stdout;
  } catch (error) {
    const detail = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const text = detail === '' ? errorText(error) : detail;
    // Not its cause as well: that one repeats all of it three times.
    throw new HyperscaleError('internal', `'${command.join(' ')}' failed: ${text}`);
  }
}

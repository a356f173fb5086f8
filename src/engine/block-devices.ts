import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorText } from '../errors.ts';
import {
  BlockDevice,
  type BlockDeviceSpec,
  loopsOver,
  makeImage,
  release,
  showLoop,
} from './block-device.ts';
import { BlockDeviceFiles, deviceNameOf, deviceNames } from './block-device-files.ts';
import { blockDeviceArguments } from './block-device-graph.ts';
import { BlockDeviceLinks, checkLinkName } from './block-device-links.ts';
import { findLoops, LoopStart, removeLoop } from './block-device-loop.ts';
import { oneRequestAtATime } from './block-device-mount.ts';
import { AdoptedDeviceProcess } from './block-device-process.ts';
import { attachSocketPath, type EngineEnvironment, runPart } from './environment.ts';
import { HeldRelay } from './held-relay.ts';
import { checkSessionId, checkVolumeId } from './ids.ts';
import { RunFiles, type RunRecord, readRunRecords } from './run-files.ts';

/** The block devices of this host: what a node's agent asks of the engine for them. */
export interface BlockDevices {
  /** Finds those that an earlier run of the daemon left, and takes away what is left of others. */
  adopt(): Promise<BlockDevice[]>;
  /**
   * Makes a device for a session that is served at this host's attachment socket.
   * @param until.reachable resolves when who connects to that socket will be served.
   * @param until.signal gives up, at any step.
   * @throws `engine`, what `reachable` rejects with, or why it was aborted; nothing is left then
   */
  start(
    spec: BlockDeviceSpec,
    until: { reachable: Promise<void>; signal: AbortSignal },
  ): Promise<BlockDevice>;
  /** @throws `bad-input` */
  checkLinkName(name: string): void;
}

/** Block devices by `qemu-storage-daemon`, FUSE and the loop driver. */
export class QemuBlockDevices implements BlockDevices {
  readonly #environment: EngineEnvironment;
  readonly #links: BlockDeviceLinks;
  readonly #directory: string;

  /** @param linkDirectory where links under chosen names go. */
  constructor(environment: EngineEnvironment, linkDirectory: string) {
    this.#environment = environment;
    this.#directory = runPart(environment, 'disks');
    this.#links = new BlockDeviceLinks(linkDirectory, this.#directory);
  }

  checkLinkName(name: string): void {
    checkLinkName(name);
  }

  async start(
    spec: BlockDeviceSpec,
    { reachable, signal }: { reachable: Promise<void>; signal: AbortSignal },
  ): Promise<BlockDevice> {
    reachable.catch(() => undefined); // waited for below, when the process stands
    const { volume, session } = spec;
    const socket = attachSocketPath(this.#environment, checkVolumeId(volume));
    const files = BlockDeviceFiles.make(this.#directory, volume);
    const runFiles = new RunFiles(runPart(this.#environment, 'devices'), files.name);
    const graph = { session: checkSessionId(session), socket, file: files.image };
    const argv = blockDeviceArguments(graph, runFiles.events);
    makeImage(files);
    let loop: LoopStart | undefined;
    try {
      // Two programs start before there is anything for them to work on.
      const relay = await HeldRelay.start(this.#environment, 'devices', volume);
      loop = new LoopStart(files.image, files.name);
      await relay.until(reachable);
      const process = await relay.become(runFiles, spec, argv, signal);
      try {
        await oneRequestAtATime(files.image);
        const path = await loop.add();
        showLoop(files, path);
        return new BlockDevice(spec, path, { files, links: this.#links, process });
      } catch (error) {
        await process.kill();
        throw error;
      }
    } catch (error) {
      loop?.cancel();
      await release(files, this.#links);
      throw error;
    }
  }

  async adopt(): Promise<BlockDevice[]> {
    const records = readRunRecords<BlockDeviceSpec>(runPart(this.#environment, 'devices'));
    const found = await Promise.all(
      records.map((record) =>
        this.#adopt(record).catch((error: unknown) => {
          const values = { device: record.files.name, error: errorText(error) };
          this.#environment.log.error(values, 'a block device cannot be adopted');
          return undefined;
        }),
      ),
    );
    const devices = found.filter((device) => device !== undefined);
    await this.#sweep(new Set(devices.map((device) => device.name)));
    return devices;
  }

  async #adopt(record: RunRecord<BlockDeviceSpec>): Promise<BlockDevice | undefined> {
    const { files: runFiles, identity, spec } = record;
    const files = new BlockDeviceFiles(this.#directory, runFiles.name);
    const process = AdoptedDeviceProcess.adopt(identity, runFiles);
    if (process === undefined) {
      runFiles.remove();
      return undefined;
    }
    const [loop, ...more] = loopsOver(files);
    if (loop === undefined || more.length > 0) {
      // Its start or its end was cut short: nobody was told of it, or nobody has it open.
      await process.kill();
      return undefined;
    }
    showLoop(files, loop.path);
    return new BlockDevice(spec, loop.path, { files, links: this.#links, process });
  }

  /** Takes away what belongs to no device: of a process that died, a step that was cut short. */
  async #sweep(live: ReadonlySet<string>): Promise<void> {
    const { log } = this.#environment;
    const isLive = (path: string) => live.has(deviceNameOf(path) ?? '');
    const links = this.#links.removeUnless(isLive);
    if (links.length > 0) log.warn({ links }, 'stale links to block devices are removed');
    for (const name of deviceNames(this.#directory).filter((n) => !live.has(n))) {
      try {
        await release(new BlockDeviceFiles(this.#directory, name), this.#links);
        log.warn({ device: name }, 'what was left of a block device is removed');
      } catch (error) {
        log.error({ device: name, error: errorText(error) }, 'a block device cannot be removed');
      }
    }
    for (const loop of findLoops((f) => dirname(f) === this.#directory && !isLive(f))) {
      const name = deviceNameOf(loop.file);
      if (name !== undefined) await removeLoop(loop, name, true);
    }
    for (const unfinished of readdirSync(this.#directory).filter((n) => n.endsWith('~'))) {
      rmSync(join(this.#directory, unfinished), { force: true });
    }
  }
}

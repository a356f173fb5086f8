import { HyperscaleError } from '../../src/errors.ts';
import type { Environment } from '../../src/node/context.ts';
import { chooseBackup } from '../../src/restore/choose.ts';
import type { StreamSource, StreamSources, WantedStream } from '../../src/restore/stream-parts.ts';
import type { SimRepository } from './backups.ts';
import type { Checker } from './checker.ts';
import type { Host } from './engine-host.ts';
import { StreamProcess } from './stream-process.ts';

const startMs = [20, 600] as const;

type Parts = {
  environment: Environment;
  host: Host;
  checker: Checker;
  targets: ReadonlyMap<string, SimRepository>;
  /** Targets that are in the configuration of this node. */
  known: readonly string[];
};

/** What serves backups on one machine, as one life of its daemon starts and finds it. */
export class SimStreamSources implements StreamSources {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  layers(): string[] {
    return [...this.#parts.host.streams.keys()];
  }

  running(layer: string): StreamSource | null {
    const process = this.#parts.host.streams.get(layer);
    return process === undefined ? null : this.#source(process);
  }

  async start({ target, wish, layer }: WantedStream, signal: AbortSignal): Promise<StreamSource> {
    const { environment, host, targets, known, checker } = this.#parts;
    const { core, machine, streams } = host;
    const pause = core.random.int(...startMs);
    await new Promise<void>((resolve) => environment.after(pause, resolve));
    if (signal.aborted) throw new HyperscaleError('cancelled', 'the restore was cancelled');
    const repository = targets.get(target);
    if (repository === undefined || repository.down || !known.includes(target)) {
      throw new HyperscaleError('unavailable', `target ${target} cannot be read here`);
    }
    const entry = chooseBackup(
      repository.backups.map((b) => b.entry),
      wish,
      target,
    );
    host.nextPort += 1;
    const content = checker.backups.get(entry.id) ?? [];
    const what = { layer, port: host.nextPort, entry };
    const process = new StreamProcess(core, machine, what, { content, target: repository });
    // Another one was started in place of this one, whose starter did not live to know it.
    streams.get(layer)?.kill();
    streams.set(layer, process);
    process.onGone(() => {
      if (streams.get(layer) === process) streams.delete(layer);
    });
    return this.#source(process);
  }

  #source(process: StreamProcess): StreamSource {
    const { host, checker } = this.#parts;
    const { entry, layer, port } = process;
    const socket = `/run/streams/${layer}.sock`;
    host.disk.files.set(socket, checker.backups.get(entry.id) ?? []);
    return {
      serves: { entry, sizeBytes: entry.sizeBytes, port },
      socket,
      get isGone() {
        return !process.alive;
      },
      get problem() {
        if (!process.waits) return null;
        return new HyperscaleError('unavailable', 'the target does not answer');
      },
      retire: () => process.retire(),
      end: () => process.kill(),
    };
  }
}

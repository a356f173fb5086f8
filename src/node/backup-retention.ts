import type { TargetCalls } from '../backup/calls.ts';
import { errorText, isHyperscaleError } from '../errors.ts';
import { plannedPrefix } from '../volume/episodes.ts';
import { episodesOf } from '../volume/marks.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import type { Context } from './context.ts';

/** Space of removed backups of a volume is freed this often at most. */
const sweepEveryMs = 6 * 3_600_000;
/** Of the sweeps that are due, so many run; the others are due after the next backup. */
const sweepsAtATime = 8;

/** Removes the backups that plans keep no longer, and frees their space. */
export class BackupRetention {
  readonly #context: Context;
  readonly #targets: TargetCalls;
  readonly #stop: AbortSignal;
  readonly #swept = new Map<string, number>();
  #sweeping = 0;

  constructor(context: Context, targets: TargetCalls, stop: AbortSignal) {
    this.#context = context;
    this.#targets = targets;
    this.#stop = stop;
  }

  /** What fails is told, and tried again after the next backup of the volume. */
  async prune(id: VolumeId, target: string, signal: AbortSignal): Promise<void> {
    const { events, store } = this.#context;
    const volume = store.volume(id)?.value;
    const plan = volume?.episodePlan;
    if (volume === undefined || plan === undefined || plan.target !== target) return;
    const held = episodesOf(volume).flatMap((e) => e.backup ?? []);
    try {
      const wanted = { volume: id, prefix: plannedPrefix, keep: plan.keep, held };
      const removed = await this.#targets.call(target, 'prune', wanted, { signal });
      if (removed.length === 0) return;
      const names = removed.map(({ name }) => name).join(', ');
      events.emit(
        'backup.removed',
        `The plan of volume ${volume.name} keeps no longer: ${names} on ${target}.`,
        { volume: id, values: { target, backups: removed.map((e) => e.id) } },
      );
      this.#sweepSoon(volume, target);
    } catch (error) {
      this.#failed(volume, target, error);
    }
  }

  /** On NFS a sweep waits for minutes, and reads nothing meanwhile: nobody waits for it. */
  #sweepSoon(volume: Volume, target: string): void {
    const now = this.#context.environment.monotonic();
    const key = `${volume.id} ${target}`;
    if (now - (this.#swept.get(key) ?? Number.NEGATIVE_INFINITY) < sweepEveryMs) return;
    if (this.#sweeping >= sweepsAtATime) return;
    this.#swept.set(key, now);
    this.#sweeping += 1;
    this.#targets
      .call(target, 'sweep', { volume: volume.id }, { signal: this.#stop })
      .catch((error: unknown) => this.#failed(volume, target, error))
      .finally(() => {
        this.#sweeping -= 1;
      });
  }

  #failed({ id, name }: Volume, target: string, error: unknown): void {
    if (this.#stop.aborted || isHyperscaleError(error, 'conflict')) return;
    this.#context.events.emit(
      'backup.sweep-failed',
      `Space of old backups of ${name} on ${target} is not freed: ${errorText(error)}.`,
      { volume: id, values: { target } },
    );
  }
}

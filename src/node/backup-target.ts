import { ableNodes } from '../cluster/backup-plan.ts';
import { HyperscaleError } from '../errors.ts';
import type { NodeView, Volume } from '../volume/types.ts';

/**
 * Where a volume is backed up to: as wished, else by its plan, else where there is only one target.
 * @throws `bad-input` when it is not clear, `not-found` as `assertTarget`
 */
export function targetFor(
  volume: Volume,
  wanted: string | null,
  nodes: readonly NodeView[],
): string {
  const all = [...new Set(nodes.flatMap((n) => n.backupTargets ?? []))].sort();
  const [only, ...more] = all;
  const target = wanted ?? volume.episodePlan?.target ?? (more.length === 0 ? only : undefined);
  if (target === undefined) {
    throw new HyperscaleError('bad-input', `it is not clear where ${volume.name} is backed up to`, {
      hint:
        all.length === 0
          ? 'No node has a backup target in its configuration: docs/backup.md.'
          : `Name a target: ${all.join(', ')}.`,
    });
  }
  assertTarget(nodes, target);
  return target;
}

/** @throws `not-found` when no node has such a target */
export function assertTarget(nodes: readonly NodeView[], target: string): void {
  if (nodes.some((n) => n.backupTargets?.includes(target) === true)) return;
  const able = [...new Set(nodes.flatMap((n) => n.backupTargets ?? []))].sort();
  throw new HyperscaleError('not-found', `no node has a backup target ${target}`, {
    hint:
      able.length === 0
        ? 'Targets are set in the configuration of nodes (backup.targets): docs/backup.md.'
        : `Targets are ${able.join(', ')}.`,
    values: { target, live: ableNodes(target, nodes) },
  });
}

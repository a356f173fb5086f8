import { join } from 'node:path';
import type { LabCluster } from '../lab/cluster.ts';
import { HyperscaleError, isHyperscaleError } from '../src/errors.ts';
import { type Display, during, type Line } from './display.ts';
import type { EventRecorder } from './events.ts';
import type { GuestImage } from './guest/image.ts';
import type { Report } from './report.ts';
import { describe, type VolumeView } from './volume-view.ts';

/** The demo's volume that the guest writes to. */
export const volumeName = 'guest';

/** What all steps share. */
export type Scene = {
  cluster: LabCluster;
  events: EventRecorder;
  image: GuestImage;
  display: Display;
  report: Report;
  /** Nodes that the step at hand is about; their logs are shown when it fails. */
  concerned: string[];
};

/** A step of the demo; `nodes` are those whose logs tell why it failed. */
export async function step<T>(
  scene: Scene,
  title: string,
  nodes: string[],
  work: (line: Line) => Promise<T>,
): Promise<T> {
  scene.concerned = nodes;
  return scene.display.step(title, work);
}

/** Waits for a state of the volume and shows how it is meanwhile; asks the node `via`. */
export async function volumeBecomes(
  scene: Scene,
  line: Line,
  via: string,
  predicate: (volume: VolumeView) => boolean,
  timeoutMs: number,
  also: () => string = () => '',
): Promise<VolumeView> {
  let seen = 'not seen yet';
  const look = (volume: VolumeView): boolean => {
    seen = describe(volume);
    return predicate(volume);
  };
  const wait = scene.cluster
    .waitForVolume<VolumeView>(volumeName, look, timeoutMs, via)
    .catch((error: unknown) => {
      // Its text quotes the whole volume; what the display showed last says it shorter.
      const text = `the volume is not as awaited after ${timeoutMs / 1000} s; last seen: ${seen}`;
      throw isHyperscaleError(error, 'timeout') ? new HyperscaleError('timeout', text) : error;
    });
  return during(line, () => `${also()}${seen}`, wait);
}

/** A directory of the demo's own inside the lab's, which goes with it. */
export function workDirectory(cluster: LabCluster, name: string): string {
  return join(cluster.directory, name);
}

/** What a fault is to whoever lets it strike. */
import type { Scene } from './scene.ts';
import type { Choice } from './schedule.ts';
import type { Stage } from './stage.ts';

export type Struck = {
  stage: Stage;
  scene: Scene;
  /** Whom it strikes, by name. */
  hosts: readonly string[];
  random: () => number;
};

/** Undoes a fault. */
export type Mend = () => Promise<void>;

/** Lets a fault strike; undefined when there was nothing to strike now. */
export type Strike = (struck: Struck) => Promise<Mend | undefined>;

export type FaultKind = Choice & {
  strike: Strike;
  /** A guest may get an I/O error, and is paused then. */
  mayFailRequests?: boolean;
};

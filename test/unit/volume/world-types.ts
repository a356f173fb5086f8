/** What the small world of the protocol tests is made of. */
import type { NodeName, UnsealedLayer, Volume } from '../../../src/volume/types.ts';

/** Blocks of the largest volume. */
export const blockCount = 4;
/** What a block stands for in the size of a volume. */
export const blockBytes = 2 ** 19;

/** `cached` is what reads return; `stable` what survives a power cut that loses the cache. */
export type Copy = { stable: number[]; cached: number[] };

/** What an agent waits for: its next moment, or the outcome of a compare-and-swap. */
export type Wait = { apply: (volume: Volume) => Volume } | 'moment';
/** One thing an agent does, in steps between which anything can happen. */
export type Task = { run: Generator<Wait, void, Volume | null>; wait: Wait };

export type WorldNode = {
  name: NodeName;
  pool: string;
  boot: string;
  up: boolean;
  /** Durable: epochs below are refused. */
  fence: number;
  disk: Map<string, Copy>;
  /** Layers that a head of this node has opened. */
  burnt: Set<string>;
  duty: Task | null;
  background: Task | null;
  proxy: { session: string; headNode: NodeName; epoch: number } | null;
  gateways: Set<string>;
};

export type Write = {
  block: number;
  number: number;
  reached: Set<NodeName>;
  acknowledged: boolean;
};

export type Head = {
  node: NodeName;
  layer: UnsealedLayer;
  alive: boolean;
  /** Where each sealed layer is read from, oldest first. */
  sources: { layer: string; from: NodeName }[];
  sessions: string[];
  writes: Write[];
};

/** Ways in which an agent can be wrong; the checks must notice each. */
export type Fault =
  | 'marks-before-it-mends'
  | 'mends-without-fence'
  | 'calls-a-kill-graceful'
  | 'seals-without-sync'
  | 'serves-behind-a-fence'
  | 'acknowledges-early'
  | 'deletes-what-is-read'
  | 'merges-into-the-smallest'
  | 'swaps-blindly';

/** A copy that holds nothing, or what is given, on stable storage. */
export function emptyCopy(content?: readonly number[]): Copy {
  const blocks = content ?? new Array<number>(blockCount).fill(0);
  return { stable: [...blocks], cached: [...blocks] };
}

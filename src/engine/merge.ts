import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText, HyperscaleError } from '../errors.ts';
import { type BlockNode, qemuStorageDaemon } from './graphs.ts';
import { containerBytes } from './layer-files.ts';
import { QmpClient } from './qmp.ts';
import { runTool } from './run-tool.ts';

export type MergeWork = {
  /** Files of adjacent sealed layers, oldest first; they are only read. */
  sources: string[];
  /** The file to make; with `rewrite` an empty layer of `sizeBytes` that is there. */
  target: string;
  /** A small file that is needed meanwhile; the caller removes it. */
  helper: string;
  sizeBytes: number;
  signal: AbortSignal;
  /**
   * Copies what the lowest source shows instead of its file: what was given back within it while it was
   * written takes no space in the target.
   */
  rewrite: boolean;
  progress?: MergeProgress | undefined;
};

/** Told the bytes that were looked at, and how many there are. */
export type MergeProgress = (doneBytes: number, totalBytes: number) => void;

const progressEveryMs = 500;

/** Longest time that a timer of Node can wait. */
const forever = 2 ** 31 - 1;

/**
 * Makes one layer that shows through a chain what `sources` show: also what they leave unallocated
 * stays so, and a discard or zeros in them still hide older layers. It is synced and verified.
 * @throws `no-space`, `cancelled`, `engine`; the target is then of no use.
 */
export async function mergeLayers(work: MergeWork): Promise<void> {
  const { sources, target, sizeBytes, signal, rewrite } = work;
  const [lowest, ...uppers] = sources;
  if (lowest === undefined) throw new HyperscaleError('internal', 'nothing to merge');
  if (rewrite) await commit(work, sources);
  else {
    await runTool('cp', ['--reflink=auto', '--sparse=always', lowest, target], signal);
    if (uppers.length > 0) await commit(work, uppers);
  }
  await digHoles(target, signal);
  const file = await open(target, 'r+');
  try {
    const { size } = await file.stat();
    await file.truncate(Math.max(size, containerBytes(sizeBytes)));
    await file.sync();
  } finally {
    await file.close();
  }
  await verify(work);
}

/** Zeros that were copied beside data take no space either. A file system that has no holes keeps them. */
async function digHoles(path: string, signal: AbortSignal): Promise<void> {
  await runTool('fallocate', ['--dig-holes', path], signal).catch((error: unknown) => {
    if (signal.aborted) throw error;
  });
}

/**
 * Copies what the uppers hold into the target. This is the intermediate `block-commit`, which copies
 * exactly the allocated subclusters; `qemu-img commit` copies the whole 64 KiB around each, and so
 * would fill with zeros what a layer below the lowest has to show. It needs a layer above that is
 * not committed: the helper.
 */
async function commit(work: MergeWork, uppers: string[]): Promise<void> {
  const { target, helper, sizeBytes, signal } = work;
  const layer = ['create', '-q', '-f', 'qcow2', helper, String(sizeBytes)];
  await runTool('qemu-img', layer, signal);
  const nodes: BlockNode[] = [
    {
      driver: 'qcow2',
      'node-name': 'base',
      discard: 'unmap',
      // Zeros that the uppers hold as data take no space in the target.
      'detect-zeroes': 'unmap',
      file: { driver: 'file', filename: target, discard: 'unmap' },
      backing: null,
    },
    ...uppers.map((path, index) => ({
      ...sealedNode(path),
      'node-name': `upper${index}`,
      backing: index === 0 ? 'base' : `upper${index - 1}`,
    })),
    {
      driver: 'qcow2',
      'node-name': 'helper',
      file: { driver: 'file', filename: helper },
      backing: `upper${uppers.length - 1}`,
    },
  ];
  await withStorageDaemon(nodes, signal, async (qmp) => {
    const concluded = qmp.event(
      ({ event, data }) => event === 'JOB_STATUS_CHANGE' && data.status === 'concluded',
      { timeoutMs: forever, signal },
    );
    concluded.catch(() => undefined);
    await qmp.execute('block-commit', {
      'job-id': 'merge',
      device: 'helper',
      'top-node': `upper${uppers.length - 1}`,
      'base-node': 'base',
      'auto-dismiss': false,
    });
    await shown(qmp, concluded, work.progress);
    const [job] = (await qmp.execute('query-jobs')) as { error?: string }[];
    if (job?.error !== undefined) throw mergeError(job.error);
    await qmp.execute('job-dismiss', { id: 'merge' });
  });
}

/** Waits for the job's end and tells how far it is. */
async function shown(
  qmp: QmpClient,
  concluded: Promise<unknown>,
  progress: MergeProgress | undefined,
): Promise<void> {
  let over = false;
  const end = concluded.finally(() => {
    over = true;
  });
  while (!over && progress !== undefined) {
    const timer = new AbortController();
    const pause = delay(progressEveryMs, undefined, { signal: timer.signal }).catch(
      () => undefined,
    );
    await Promise.race([end, pause]).finally(() => timer.abort());
    const [job] = (await qmp.execute('query-jobs')) as Progressing[];
    if (job !== undefined) progress(job['current-progress'], job['total-progress']);
  }
  await end;
}

type Progressing = { 'current-progress': number; 'total-progress': number };

/** Runs a storage daemon that ends with this process; `use` may ask it for anything. */
async function withStorageDaemon(
  nodes: BlockNode[],
  signal: AbortSignal,
  use: (qmp: QmpClient) => Promise<void>,
): Promise<void> {
  const argv = [
    ...['--pdeathsig', 'KILL', '--', qemuStorageDaemon],
    ...['--chardev', 'stdio,id=qmp,signal=off', '--monitor', 'chardev=qmp'],
    ...nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
  ];
  const child = spawn('setpriv', argv, { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' });
  const exited = once(child, 'close') as Promise<[number | null]>;
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  try {
    const qmp = await monitorOf(child, signal);
    await use(qmp);
    await qmp.execute('quit', {}, { timeoutMs: forever, signal });
    const [status] = await exited;
    if (status !== 0) throw new Error(`it ended with status ${status}`);
  } catch (error) {
    child.kill('SIGKILL');
    await exited;
    if (signal.aborted) throw new HyperscaleError('cancelled', 'the merge was cancelled');
    throw mergeError(Buffer.concat(said).toString('utf8').trim() || errorText(error), error);
  }
}

async function monitorOf(
  child: ChildProcessByStdio<Writable, Readable, Readable>,
  signal: AbortSignal,
): Promise<QmpClient> {
  return await QmpClient.over(child.stdout, child.stdin, () => child.stdin.destroy(), {
    timeoutMs: 30_000,
    signal,
  });
}

/** Compares what is seen of the sources and of the target, and what both leave unallocated. */
async function verify({ sources, target, signal }: MergeWork): Promise<void> {
  const before = chainOf(sources);
  const after = chainOf([target]);
  await runTool('qemu-img', ['compare', '-q', '-U', before, after], signal).catch(
    (error: unknown) => {
      if (signal.aborted) throw error;
      throw mergeError(`the result differs from its sources: ${errorText(error)}`, error);
    },
  );
  // Older layers are not longer than the lowest source, so behind its end there is nothing to hide.
  const limit = Math.min(...(await Promise.all(sources.map(virtualSize))));
  const holesBefore = await holes(before, limit, signal);
  const holesAfter = await holes(after, limit, signal);
  if (holesBefore !== holesAfter) {
    throw mergeError('the result hides other parts of older layers than its sources did');
  }
}

/** The ranges below `limit` that a layer below would show through, as text. */
async function holes(image: string, limit: number, signal: AbortSignal): Promise<string> {
  const output = await runTool('qemu-img', ['map', '-U', '--output=json', image], signal);
  const map = JSON.parse(output) as { start: number; length: number; present: boolean }[];
  const ranges: { start: number; end: number }[] = [];
  for (const { start, length, present } of map) {
    if (present || start >= limit) continue;
    const end = Math.min(start + length, limit);
    const last = ranges.at(-1);
    if (last?.end === start) last.end = end;
    else ranges.push({ start, end });
  }
  return JSON.stringify(ranges);
}

async function virtualSize(path: string): Promise<number> {
  const output = await runTool('qemu-img', ['info', '-U', '--output=json', '-f', 'qcow2', path]);
  return (JSON.parse(output) as { 'virtual-size': number })['virtual-size'];
}

function chainOf(paths: string[]): string {
  let chain: BlockNode | null = null;
  for (const path of paths) chain = { ...sealedNode(path), backing: chain };
  return `json:${JSON.stringify(chain)}`;
}

/** A layer that heads may have open meanwhile, read-only like here, so no lock is needed. */
function sealedNode(path: string): BlockNode {
  const file = { driver: 'file', filename: path, 'read-only': true, locking: 'off' };
  return { driver: 'qcow2', 'read-only': true, file };
}

function mergeError(reason: string, cause?: unknown): HyperscaleError {
  const full = /No space left on device|Disk quota exceeded/.test(reason);
  return new HyperscaleError(full ? 'no-space' : 'engine', `merge failed: ${reason}`, { cause });
}

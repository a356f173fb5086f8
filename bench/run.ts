/** `npm run bench`: measures and prints what docs/benchmark.md explains. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { LabCluster } from '../lab/cluster.ts';
import { heartbeatFile, probeFileAccess } from '../src/engine/probe.ts';
import { isHyperscaleError } from '../src/errors.ts';
import { measureControlPlane } from './control-plane.ts';
import { type Bench, type DataPlaneRun, measureDataPlane } from './data-plane.ts';
import { type BenchOptions, parseOptions, usage } from './options.ts';
import { type Report, reportText } from './report.ts';
import { summarize } from './summary.ts';
import { memoryOf } from './usage.ts';
import { etcdNode, headNode, nodeNames } from './volumes.ts';

const controlPolicy = 'Gold';
const controlBytes = 1 << 30;

function machine(): Report['machine'] {
  const version = (program: string): string =>
    execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
  return {
    date: new Date().toISOString(),
    processors: `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}`,
    kernel: release(),
    qemu: version('qemu-storage-daemon'),
    fio: version('fio'),
    'load before': loadavg()[0]?.toFixed(2) ?? '',
  };
}

function memory(cluster: LabCluster, heads: DataPlaneRun['heads']): Report['memory'] {
  const node = cluster.node(headNode);
  const all = (['daemon', 'replica-server'] as const).flatMap((role) =>
    node
      .pids(role)
      .map((pid) => ({ process: role === 'daemon' ? 'hyperscaled' : 'replica server', pid })),
  );
  all.push(...heads.map(({ volume, pid }) => ({ process: `head of ${volume}`, pid })));
  return all.map(({ process, pid }) => ({ process, memory: memoryOf(pid) }));
}

async function run(options: BenchOptions): Promise<void> {
  const start = performance.now();
  const say = (text: string): void => {
    const seconds = (performance.now() - start) / 1000;
    process.stderr.write(`${seconds.toFixed(0).padStart(4)} s  ${text}\n`);
  };
  const report: Report = {
    machine: machine(),
    options,
    dataPlane: [],
    memory: [],
    controlPlane: [],
  };
  say('starting three nodes');
  const cluster = await LabCluster.create({
    nodes: nodeNames,
    etcdNode,
    ...(options.directory === undefined ? {} : { baseDirectory: options.directory }),
  });
  try {
    const probed = await heartbeatFile(cluster.node(headNode).poolDirectory);
    const access = await probeFileAccess(probed, say);
    const bench: Bench = { cluster, access, options, say };
    let measurements: unknown = [];
    if (options.parts.control) {
      report.controlPlane = await measureControlPlane({
        ...{ cluster, say, count: options.operations },
        ...{ policy: controlPolicy, sizeBytes: controlBytes },
      });
    }
    if (options.parts.data) {
      const done = await measureDataPlane(bench);
      measurements = done.measurements;
      report.dataPlane = summarize(done.measurements, options.keepLimits);
      report.memory = memory(cluster, done.heads);
    }
    const seconds = Math.round((performance.now() - start) / 1000);
    report.machine['seconds taken'] = String(seconds);
    process.stdout.write(`\n${reportText(report)}`);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify({ ...report, measurements }, null, 2)}\n`);
    }
  } finally {
    await cluster.destroy();
  }
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(`${usage}\n`);
  else await run(options);
} catch (error) {
  if (!isHyperscaleError(error)) throw error;
  process.stderr.write(
    `bench: ${error.message}\n${error.hint === undefined ? '' : `hint: ${error.hint}\n`}`,
  );
  process.exitCode = 1;
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { EndpointAnswer } from '../../src/api/schemas.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { during } from '../display.ts';
import { Guest, type GuestRecord, lostRecords } from '../guest/guest.ts';
import { seconds } from '../report-text.ts';
import { type Scene, step, volumeName, workDirectory } from '../scene.ts';
import type { Writing } from './write.ts';

/** The node that takes over: the spare, which holds only what was written since it joined. */
export const secondHost = 'n4';
const attachTimeoutMs = 60_000;
const bootTimeoutMs = 90_000;

/** Cuts the power of the guest's own node and reads every record back on another one. */
export async function loseHost(scene: Scene, writing: Writing): Promise<void> {
  const { guest } = writing;
  const cutAt = performance.now();
  await step(scene, 'Cut the power of n1, with the virtual machine on it', ['n1'], async (line) => {
    await scene.cluster.node('n1').powerCut({ silent: true });
    await guest.exited;
    line.outcome(`the guest had reported ${guest.records.length} records`);
  });
  const endpoint = await takeOver(scene, cutAt);
  await verify(scene, writing, endpoint);
}

async function takeOver(scene: Scene, cutAt: number): Promise<EndpointAnswer> {
  const { api } = scene.cluster.node(secondHost);
  const path = `/v1/volumes/${volumeName}/attachments`;
  const title = `Attach the volume on ${secondHost}`;
  return step(scene, title, [secondHost, 'n3'], async (line) => {
    let said = '';
    const since = () => (performance.now() - cutAt) / 1000;
    const attach = async (): Promise<EndpointAnswer> => {
      for (;;) {
        const answer = await api.request<EndpointAnswer>('POST', path, {});
        if (answer.status < 300) return answer.body;
        said = JSON.stringify(answer.body);
        if (since() * 1000 > attachTimeoutMs) {
          throw new HyperscaleError('timeout', `cannot attach on ${secondHost}: ${said}`);
        }
        await sleep(200);
      }
    };
    const now = () => `${seconds(since())} since the power cut ${said}`;
    const endpoint = await during(line, now, attach());
    const took = since();
    scene.report.figures.takeOver = { secondsUntilAttached: took, from: 'n1', to: secondHost };
    // As an orchestrator does that evacuates a host: n1 is not coming back with its guest.
    await api.call('DELETE', `${path}/n1`);
    line.outcome(`${seconds(took)} after the power cut`);
    return endpoint;
  });
}

async function verify(scene: Scene, writing: Writing, endpoint: EndpointAnswer): Promise<void> {
  const { report, cluster, image } = scene;
  const { guest, perSecond, longestPause } = writing;
  const reported = guest.records;
  const title = `Boot a virtual machine on ${secondHost} that reads every record back`;
  await step(scene, title, [secondHost, 'n3'], async (line) => {
    const reader = await Guest.start({
      image,
      uri: { socket: endpoint.socket, export: endpoint.session },
      mode: 'verify',
      serial: writing.volumeId,
      directory: workDirectory(cluster, 'guest-2'),
      netns: cluster.node(secondHost).namespace,
    });
    const now = () => reader.lines.at(-1)?.slice(0, 60) ?? reader.kernelLines.at(-1) ?? 'booting';
    const verification = await during(line, now, reader.verification(bootTimeoutMs));
    const lost = lostRecords(reported, verification);
    const read = verification.intact ? verification.checksums.length : 0;
    report.figures.records = {
      reported: reported.length,
      verified: read,
      lost: lost.length,
      perSecond,
      longestPauseUndisturbed: longestPause,
    };
    const verdict = verification.intact
      ? `${read} records in order, every checksum right`
      : `record ${verification.n}: ${verification.reason}`;
    report.check('what the volume holds is intact', verification.intact, verdict);
    report.check(
      'every record reported before the cut is there',
      reported.length > 0 && lost.length === 0,
      lost.length === 0
        ? `${reported.length} of ${reported.length}`
        : `${lost.length} are not as reported, the first is ${lost[0]?.n}`,
    );
    const gap = firstGap(reported);
    report.check(
      'the guest reported every number once, in order',
      gap === undefined,
      gap === undefined ? `1 to ${reported.length}` : `${gap.n} is out of order`,
    );
    const errors = reader.ioErrors;
    report.check(
      'no I/O error while reading back',
      errors.length === 0,
      errors.join('; ') || 'none',
    );
    line.outcome(`${reported.length - lost.length} of ${reported.length} are there`);
  });
}

/** The first record whose number does not follow the one before it; the first is number 1. */
function firstGap(records: readonly GuestRecord[]): GuestRecord | undefined {
  return records.find((record, index) => record.n !== index + 1);
}

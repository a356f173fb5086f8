import type { ReportAnswer, VolumeDetailAnswer } from '../api/schemas.ts';
import { limitsText } from '../volume/limits-text.ts';
import { planText } from './episode-options.ts';
import { fields, formatTime, printable } from './format.ts';
import { formatBytes } from './size.ts';
import { volumeSpaceFields } from './space-text.ts';
import type { VolumeWithSpace } from './with-space.ts';

/** A volume as `volume show` prints it. */
export function volumeText(volume: VolumeWithSpace): string {
  const { policy, report } = volume;
  const copies = policy.copies === 1 ? '1 copy' : `${policy.copies} copies`;
  const attachments = volume.attachments.map(
    ({ host, since }) => `${host} (since ${formatTime(since)})`,
  );
  const head = fields([
    ['Name', volume.name],
    ['Id', volume.id],
    ['Size', formatBytes(volume.sizeBytes)],
    ...(volume.space === null ? [] : volumeSpaceFields(volume.space)),
    ['Policy', `${policy.name}: ${copies}`],
    ['Limits', limitsText(volume.limits)],
    ['Created', formatTime(volume.createdAt)],
    ['Attached', attachments.length === 0 ? 'nowhere' : `on ${attachments.join(', ')}`],
    ['Served by', servedBy(volume)],
    ['Epoch', String(volume.epoch)],
    ...sharingFields(volume),
    ...(volume.episodes === null ? [] : [['Backups', planText(volume.episodes)] as const]),
    ...Object.entries(volume.metadata).map(([key, value]): [string, string] => [`  ${key}`, value]),
  ]);
  return `${head}\n${reportText(report, volume.id)}${lossesText(volume)}`;
}

/** Only what there is: most volumes have nothing of it. */
function sharingFields(volume: VolumeDetailAnswer): [string, string][] {
  const { role, parent, sharedLayers, snapshotList, clones, restoredFrom } = volume;
  const lines: [string, string][] = [];
  if (role === 'image') lines.push(['Role', 'an image: volumes are made from it']);
  if (role === 'base') lines.push(['Role', 'a base: it was deleted, and its clones need it']);
  if (restoredFrom !== null) {
    const { at, backup, target, volumeName } = restoredFrom;
    lines.push(['Made from', `backup ${target}/${backup} of ${volumeName} at ${formatTime(at)}`]);
  }
  if (parent !== null) {
    const layers = sharedLayers === 1 ? '1 layer' : `${sharedLayers} layers`;
    lines.push(['Cloned from', `${parent} (${layers} shared)`]);
  }
  if (snapshotList.length > 0) lines.push(['Snapshots', some(snapshotList.map((s) => s.name))]);
  if (clones.length > 0) lines.push(['Clones', some(clones)]);
  return lines;
}

const shownNames = 8;

/** The newest of many names. */
function some(names: readonly string[]): string {
  const more = names.length - shownNames;
  return more <= 0 ? names.join(', ') : `${names.slice(-shownNames).join(', ')} and ${more} more`;
}

function servedBy({ head, servesFor }: VolumeDetailAnswer): string {
  if (head === null) return 'no node now';
  return servesFor === null ? head : `${head} (in place of ${servesFor})`;
}

/** What operators decided to go on without. */
function lossesText({ losses }: VolumeDetailAnswer): string {
  if (losses.length === 0) return '';
  const lines = losses.flatMap(({ at, by, node, text }) => [
    `- ${formatTime(at)}, by ${by} on ${node}:`,
    ...text.map((sentence) => `    ${sentence}`),
  ]);
  return `\nData that was given up:\n${lines.map((line) => `${printable(line)}\n`).join('')}`;
}

/**
 * A report as `volume health` prints it.
 * @param id of the volume, where it is known: layers of others are said to be shared.
 */
export function reportText(report: ReportAnswer, id?: string): string {
  const parts = [`${report.state.toUpperCase()}: ${report.summary}\n`];
  if (report.layers.length > 0) {
    const lines = report.layers.map((layer) => {
      const copies = layer.copies.map(
        ({ node, state, up }) =>
          `${node}${state === 'clean' || state === layer.state ? '' : ` ${state}`}${up ? '' : ' DOWN'}`,
      );
      const home = id === undefined || layer.volume === id ? '' : ', shared';
      const size = layer.bytes === null ? '' : `, ${formatBytes(layer.bytes)}`;
      return `  ${layer.number}  ${layer.state}, epoch ${layer.epoch}${home}${size}: ${copies.join(', ') || 'no copies'}\n`;
    });
    parts.push(`\nLayers, oldest first, and their copies:\n${lines.join('')}`);
  }
  if (report.findings.length > 0) {
    const lines = report.findings.map(
      ({ severity, what, why, action, progress }) =>
        `- ${what} [${severity}]\n    why: ${why}\n    ${action}${bar(progress)}\n`,
    );
    parts.push(`\nFindings:\n${lines.join('')}`);
  }
  if (report.work.length > 0) {
    parts.push(`\nIn the background:\n${report.work.map(({ what }) => `- ${what}\n`).join('')}`);
  }
  return parts.join('').split('\n').map(printable).join('\n');
}

const barWidth = 20;

function bar(progress: number | null): string {
  if (progress === null) {
    return '';
  }
  const done = Math.floor(progress * barWidth);
  const drawn = '#'.repeat(done).padEnd(barWidth, '.');
  return `\n    [${drawn}] ${Math.floor(progress * 100)} %`;
}

import { type Command, InvalidArgumentError } from 'commander';
import { metadataPrefix } from '../api/list-filter.ts';
import { maxPage } from '../api/list-page.ts';

/** What lists are narrowed by on the command line, and lists in parts. */

export type ListOptions = {
  limit?: string;
  after?: string;
  meta?: Record<string, string>;
  [filter: string]: unknown;
};

/** Options of every list. */
export function pageOptions(command: Command): Command {
  return command
    .option('--limit <count>', `at most so many, 1 to ${maxPage} (default: all)`)
    .option('--after <next>', 'go on behind that: what the list before ended with');
}

/** `--meta KEY=VALUE`, any number of times. */
export function metadataOption(command: Command): Command {
  return command.option(
    '--meta <key=value>',
    'only with this note; may be given several times',
    noted,
    {},
  );
}

function noted(given: string, before: Record<string, string>): Record<string, string> {
  const at = given.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Give KEY=VALUE.');
  return { ...before, [metadataPrefix + given.slice(0, at)]: given.slice(at + 1) };
}

/** The query of a list from its options; `flags` are true or false without a value of their own. */
export function listQuery({ meta = {}, ...options }: ListOptions): Record<string, string> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given.map(([key, value]) => [key, String(value)])), ...meta };
}

/**
 * What was asked for, or everything, which may take several answers.
 * @param ask gets one answer of the list.
 * @returns `next` only when a limit was given and there is more.
 */
export async function wholeList<T>(
  query: Record<string, string>,
  ask: (query: Record<string, string>) => Promise<{ entries: T[]; next: string | undefined }>,
): Promise<{ entries: T[]; next?: string }> {
  if (query.limit !== undefined) {
    const { entries, next } = await ask(query);
    return { entries, ...(next === undefined ? {} : { next }) };
  }
  const entries: T[] = [];
  let after = query.after;
  for (;;) {
    const page = await ask({
      ...query,
      limit: String(maxPage),
      ...(after === undefined ? {} : { after }),
    });
    entries.push(...page.entries);
    if (page.next === undefined) return { entries };
    after = page.next;
  }
}

/** Below a list that goes on. */
export function moreText(next: string | undefined): string {
  return next === undefined ? '' : `More: --after ${next}\n`;
}

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { buildApp } from '../../src/api/app.ts';
import { run } from '../../src/cli/program.ts';
import { checkConfig } from '../../src/daemon/config.ts';
import { errorCodes } from '../../src/errors.ts';
import { FakeService, quiet } from './api-fake-service.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');

const pages = globSync('**/*.md', { cwd: root, exclude: ['**/node_modules/**', 'results/**'] });

/** The text of a page without what stands between fences or backquotes. */
function prose(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '');
}

/** The names under which GitHub makes a page's headings reachable. */
function anchors(markdown: string): string[] {
  const headings = [...markdown.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ +(.*)$/gm)];
  return headings.map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

/** Relative links of a page that lead nowhere. */
function brokenLinks(page: string): string[] {
  const links = [...prose(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchors(read(target)).includes(anchor);
  });
}

/** What `hscli ARGS --help` prints. */
async function helpOf(args: string[]): Promise<string> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const signal = new AbortController().signal;
  const io = { stdout, stderr, stdin: new PassThrough(), env: {}, signal };
  expect(await run([...args, '--help'], io)).toBe(0);
  stdout.end();
  return textOf(stdout);
}

/** First words of the entries that a help text lists under a heading. */
function entries(help: string, heading: string): string[] {
  const block = help.split(`${heading}:\n`)[1]?.split('\n\n')[0] ?? '';
  return [...block.matchAll(/^ {2}(\S+)/gm)].map(([, word = '']) => word.replace(/,$/, ''));
}

/** Every command of `hscli` that has none below it, with the options of its own. */
async function commands(path: string[] = []): Promise<{ name: string; options: string[] }[]> {
  const help = await helpOf(path);
  const below = entries(help, 'Commands');
  if (below.length === 0) {
    const options = entries(help, 'Options').filter((option) => option.startsWith('--'));
    return [{ name: ['hscli', ...path].join(' '), options }];
  }
  return (await Promise.all(below.map((word) => commands([...path, word])))).flat();
}

/** Dotted names of all settings; lists are settings, not groups of them. */
function settings(value: object, prefix = ''): string[] {
  return Object.entries(value).flatMap(([key, entry]: [string, unknown]) =>
    typeof entry === 'object' && entry !== null && !Array.isArray(entry)
      ? settings(entry, `${prefix}${key}.`)
      : [`${prefix}${key}`],
  );
}

describe('the documentation', () => {
  it('has pages', () => {
    expect(pages).toContain('README.md');
    expect(pages).toContain('docs/design/README.md');
  });

  it.each(pages)('%s has no link that leads nowhere', (page) => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it('tells of every setting, with its default', () => {
    const page = read('docs/configuration.md');
    const smallest = { node: 'n1', address: '10.0.0.1' };
    const complete = checkConfig(smallest, 'test');
    for (const setting of settings(complete)) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${setting}\` |`));
      expect(row, setting).toBeDefined();
      if (setting in smallest) continue;
      const value = setting
        .split('.')
        .reduce<unknown>(
          (at, key) => Object.entries(at ?? {}).find(([k]) => k === key)?.[1],
          complete,
        );
      const written = Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
      expect(row, setting).toContain(`| \`${written}\` |`);
    }
  });

  it('has a complete example of a configuration that is accepted', () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(read('docs/configuration.md'))?.[1] ?? '';
    const given: unknown = parse(example);
    const config = checkConfig(given, 'docs/configuration.md');
    expect(settings(given ?? {}).sort()).toEqual(settings(config).sort());
  });

  it('tells of every error code, with its HTTP status and exit status', () => {
    const page = read('docs/api.md');
    for (const [code, { status, exit }] of Object.entries(errorCodes)) {
      expect(page).toContain(`| \`${code}\` | ${status} | ${exit} |`);
    }
  });

  it('tells of every command of hscli and every option', async () => {
    const page = read('docs/hscli.md');
    const all = await commands();
    expect(all.map(({ name }) => name)).toContain('hscli volume attach');
    for (const { name, options } of all) {
      const section = page.split(`\n## ${name}\n`)[1]?.split('\n## ')[0];
      expect(section, name).toBeDefined();
      for (const option of options) expect(section, `${name} ${option}`).toContain(option);
    }
    for (const option of entries(await helpOf([]), 'Options')) {
      if (option.startsWith('--')) expect(page).toContain(`| \`${option}`);
    }
  });

  it('tells of every request of the API', async () => {
    const app = await buildApp(new FakeService(), { via: 'unix' }, quiet);
    await app.ready();
    const page = read('docs/api.md');
    const paths = Object.entries(app.swagger().paths ?? {});
    expect(paths.length).toBeGreaterThan(10);
    for (const [path, methods] of paths) {
      for (const method of Object.keys(methods ?? {})) {
        expect(page).toContain(`\`${method.toUpperCase()} ${path}\``);
      }
    }
    await app.close();
  });

  it('tells of every type of event', () => {
    const page = read('docs/api.md');
    const source = globSync('src/node/**/*.ts', { cwd: root }).map(read).join('\n');
    // An event's type stands alone in its quotes: two words around a point.
    const types = new Set(
      [...source.matchAll(/'([a-z]+\.[a-z-]+)'/g)].map(([, type = '']) => type),
    );
    expect(types).toContain('epoch.opened');
    for (const type of types) expect(page).toContain(`\`${type}\``);
  });
});

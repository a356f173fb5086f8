/** Whether a lab that was destroyed left anything on this machine. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { namespacesOf } from '../lab/home.ts';
import { commandLine } from '../lab/processes.ts';

/** What is still there of the lab with this id and directory, in words. */
export function leftovers(lab: { id: string; directory: string }): string[] {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .map((pid) => ({ pid, line: commandLine(pid).join(' ') }))
    .filter(({ line }) => line.includes(lab.directory) || line.includes(`hs-${lab.id}-`))
    .map(({ pid, line }) => `process ${pid} (${line})`);
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(lab.id))
    .map((line) => `mount ${line}`);
  const directory = existsSync(lab.directory) ? [`directory ${lab.directory}`] : [];
  const namespaces = namespacesOf(lab.id).map((name) => `namespace ${name}`);
  return [...processes, ...namespaces, ...mounts, ...directory];
}

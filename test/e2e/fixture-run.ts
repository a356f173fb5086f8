/** Runs the project's own programs as a person would, and tells how they ended. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { binDirectory, inNamespace } from '../../lab/child.ts';
import type { LabNode } from '../../lab/node.ts';

export type Ended = { status: number | string; stdout: string; stderr: string };

/** A command that takes so long hangs. */
const timeoutMs = 120_000;

export async function run(command: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const [program = '', ...args] = command;
  const options = { env: { ...process.env, ...env }, timeout: timeoutMs, maxBuffer: 16 << 20 };
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      const status = error === null ? 0 : (error.code ?? error.signal ?? 'not started');
      resolve({ status, stdout, stderr });
    });
  });
}

/** `hscli ARGS` against a node's daemon. */
export async function hscli(node: LabNode, ...args: string[]): Promise<Ended> {
  return run([join(binDirectory, 'hscli'), ...args], { HYPERSCALE_SOCKET: node.socketPath });
}

/** `hyperscaled ARGS` on a node, for starts that end by themselves: killed after a while. */
export async function hyperscaled(
  node: LabNode,
  args: string[] = ['--config', node.configFile],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const program = join(binDirectory, 'hyperscaled');
  return run(inNamespace(node.namespace, [program, ...args]), env);
}

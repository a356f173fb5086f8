/** The openstack client, started once for many commands (openstack/tests/client.py). */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { HyperscaleError } from '../../src/errors.ts';

const program = join(import.meta.dirname, 'stack');

type Answer = { status: number; stdout: string; stderr: string };

/** One process, which does one command at a time. */
class Client {
  readonly #child: ChildProcess;
  #waiting: PromiseWithResolvers<Answer> | undefined;

  constructor() {
    this.#child = spawn(program, ['client'], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        this.#waiting?.resolve(JSON.parse(line) as Answer);
      });
    }
    this.#child.on('exit', (status) => {
      const text = `the openstack client ended with ${status}; does the stack run?`;
      this.#waiting?.reject(new HyperscaleError('unavailable', text));
    });
    // It ends with its standard input, when this process does.
    this.#child.unref();
  }

  async run(args: string[]): Promise<Answer> {
    this.#waiting = Promise.withResolvers<Answer>();
    this.#child.stdin?.write(`${JSON.stringify(args)}\n`);
    return this.#waiting.promise;
  }
}

const idle: Client[] = [];

/** Runs a command and returns what it printed. @throws `internal` with what it complained about */
export async function client(...args: string[]): Promise<string> {
  const one = idle.pop() ?? new Client();
  const { status, stdout, stderr } = await one.run(args);
  idle.push(one);
  if (status === 0) return stdout;
  throw new HyperscaleError('internal', `openstack ${args.join(' ')}: ${stderr.trim() || status}`);
}

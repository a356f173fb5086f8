import { parseArgs } from 'node:util';
import { errorText, HyperscaleError } from '../src/errors.ts';

export type DemoOptions = {
  /** Leave the cluster up and say how to use it. */
  keep: boolean;
  /** Every event and every change of progress as a line of its own. */
  verbose: boolean;
  help: boolean;
  /** Where the report goes as JSON. */
  json: string | undefined;
};

export const usage = `usage: ./demo [--keep] [--json FILE] [--verbose]

Starts three nodes on this machine, each in a network namespace of its own, with a volume of three
copies and a real virtual machine that writes to it. Kills a node, freezes one, kills the volume's
head, cuts the power of the virtual machine's own node, live-migrates it under libvirt there and back,
and shows that nothing that was written is lost and that every copy is whole again. Installs what is
missing first. Needs root. Takes one to three minutes. Exit status 0 only if every check held.

  --keep        leave the cluster up, and print how to use hscli against it and how to end it
  --json FILE   write the report as JSON as well
  --verbose     plain lines with every event of the cluster, in place of the live display
  --help        this text
`;

/** @throws HyperscaleError `bad-input` quoting what is wrong */
export function parseOptions(argv: readonly string[]): DemoOptions {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        keep: { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        json: { type: 'string' },
      },
    });
    return { ...values, json: values.json };
  } catch (error) {
    throw new HyperscaleError('bad-input', errorText(error), { hint: './demo --help' });
  }
}

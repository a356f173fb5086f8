import { execFile } from 'node:child_process';
import { errorText, HyperscaleError } from '../../src/errors.ts';

/** Runs a program and returns its standard output; a failure quotes its standard error. */
export function runProgram(
  program: string,
  programArguments: readonly string[],
  workingDirectory?: string,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    execFile(
      program,
      programArguments,
      {
        encoding: 'buffer',
        maxBuffer: 256 * 1024 * 1024,
        env: { ...process.env, LC_ALL: 'C' },
        ...(workingDirectory === undefined ? {} : { cwd: workingDirectory }),
      },
      (error, output, errorOutput) => {
        if (error === null) return resolve(output);
        const said = errorOutput.toString().trim() || errorText(error);
        reject(
          new HyperscaleError('engine', `${program} failed: ${said}`, {
            values: { program, arguments: programArguments },
            cause: error,
          }),
        );
      },
    );
  });
}

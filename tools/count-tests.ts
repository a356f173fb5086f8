import { readFile } from 'node:fs/promises';
import { basename, relative } from 'node:path';

/**
 * Adds up vitest's JSON reports: names every test that failed with the first line of its reason,
 * then prints "N passed, N failed[, N skipped]".
 * Arguments: REPORT:STATUS, where STATUS is the exit status of the run that wrote REPORT.
 * Exits with 1 when anything failed or nothing ran.
 */
interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: {
    name: string;
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
  }[];
}

const total = { passed: 0, failed: 0, skipped: 0 };
for (const argument of process.argv.slice(2)) {
  const [path = '', status = ''] = argument.split(/:(?=\d+$)/);
  const report = await read(path);
  total.passed += report?.numPassedTests ?? 0;
  total.skipped += (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  const failed = report?.numFailedTests ?? 0;
  // A file that does not load, an unhandled rejection or a crash fails the run, not a test.
  total.failed += failed === 0 && status !== '0' ? 1 : failed;
  if (report !== undefined) nameFailures(report);
  if (failed === 0 && status !== '0') console.log(`failed: the run that wrote ${basename(path)}`);
}

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

function nameFailures(report: Report): void {
  for (const { name, message, assertionResults } of report.testResults) {
    if (message !== '') console.log(`failed: ${relative('.', name)}: ${message.split('\n')[0]}`);
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status !== 'failed') continue;
      console.log(`failed: ${relative('.', name)}: ${fullName}`);
      console.log(`        ${failureMessages[0]?.split('\n')[0] ?? 'no reason given'}`);
    }
  }
}

/** The report, or undefined when the run died before it wrote one. */
async function read(path: string): Promise<Report | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Report;
  } catch (error) {
    console.error(`no usable test report at ${path}: ${error}`);
    return undefined;
  }
}

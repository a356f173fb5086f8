/** `node lab/down.ts DIRECTORY…`: destroys labs that were kept. */
import { errorText } from '../src/errors.ts';
import { destroyLab, readRecord } from './home.ts';

const directories = process.argv.slice(2);
if (directories.length === 0) {
  console.error('usage: node lab/down.ts DIRECTORY...');
  process.exitCode = 2;
}
for (const directory of directories) {
  try {
    destroyLab(readRecord(directory));
    console.log(`${directory}: gone`);
  } catch (error) {
    console.error(errorText(error));
    process.exitCode = 1;
  }
}

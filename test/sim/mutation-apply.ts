import type { Mutation } from './mutations.ts';

/** The text of the file with the mutation in it. @throws unless `find` occurs exactly once */
export function mutated({ name, file, find, replace }: Mutation, source: string): string {
  const times = source.split(find).length - 1;
  if (times !== 1) {
    throw new Error(`mutation ${name}: its text occurs ${times} times in ${file}, not once`);
  }
  return source.replace(find, () => replace);
}

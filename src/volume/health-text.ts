/** Small pieces of plain English that reports are made of. */

/** `n1`, `n1 and n2`, `n1, n2 and n3`. */
export function listed(items: readonly string[]): string {
  if (items.length < 2) {
    return items[0] ?? 'none';
  }
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}

/** `1 copy`, `2 copies`. */
export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `, 43 %`, or nothing when the progress is not known. */
export function percent(progress: number | null): string {
  return progress === null ? '' : `, ${Math.floor(progress * 100)} %`;
}

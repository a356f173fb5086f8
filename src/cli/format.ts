/** How things look on a terminal. */

export type Column<T> = { title: string; value: (row: T) => string; right?: boolean };

/** A table without frames; one line that says `empty` when there are no rows. */
export async function table<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  empty: string,
): Promise<string> {
  if (rows.length === 0) {
    return `${empty}\n`;
  }
  // Loaded only when a table is printed: it costs start-up time.
  const { default: Table } = await import('cli-table3');
  const none = '';
  const output = new Table({
    head: columns.map((column) => column.title),
    colAligns: columns.map((column) => (column.right === true ? 'right' : 'left')),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: none,
      'top-mid': none,
      'top-left': none,
      'top-right': none,
      bottom: none,
      'bottom-mid': none,
      'bottom-left': none,
      'bottom-right': none,
      left: none,
      'left-mid': none,
      mid: none,
      'mid-mid': none,
      right: none,
      'right-mid': none,
      middle: none,
    },
  });
  for (const row of rows) {
    output.push(columns.map((column) => printable(column.value(row))));
  }
  return `${output
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}

/** `label: value` lines with aligned values. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([label]) => label.length)) + 2;
  return pairs
    .map(([label, value]) => `${`${label}:`.padEnd(width)}${printable(value)}\n`)
    .join('');
}

/** A time of the API as local time, to the second. */
export function formatTime(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) {
    return iso;
  }
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return `${date} ${clock}`;
}

/** `43 %`, or `-` when it is not known. */
export function formatProgress(progress: number | null): string {
  return progress === null ? '-' : `${Math.floor(progress * 100)} %`;
}

/** Several names in one cell. */
export function formatList(items: readonly string[]): string {
  return items.length === 0 ? '-' : items.join(', ');
}

/** Text that cannot change the terminal: control characters are shown, not obeyed. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

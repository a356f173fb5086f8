/** The kernel's list of what is mounted where (proc(5), /proc/PID/mountinfo). */

export type Mounted = {
  /** Numbers of the file system's device. */
  device: string;
  point: string;
  type: string;
  /** What the file system is on, as it was named when it was mounted. */
  source: string;
};

/** Reads the text of a mountinfo file. Line: `36 35 98:0 /mnt1 /mnt2 rw shared:1 - ext3 /dev/x rw`. */
export function parseMountInfo(text: string): Mounted[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , device = '', , point = ''] = before.split(' ');
    const [type = '', source = ''] = after.split(' ');
    return point === ''
      ? []
      : [{ device, point: unescaped(point), type, source: unescaped(source) }];
  });
}

/** Blanks and the like stand as octal numbers. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

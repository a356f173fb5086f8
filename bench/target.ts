/** What a data-plane row is measured on: a raw file's or a volume's NBD export. */
export type Target = {
  /** Column of the table. */
  name: string;
  uri: string;
  /** Pids of all processes between the socket and the disks, that of the socket first. */
  servers(): number[];
};

/** The kinds of target, in the order in which they take turns. */
export type Kind =
  | { kind: 'raw'; name: string; writethrough: boolean; copies: 1 }
  | { kind: 'volume'; name: string; policy: string; copies: number; maxIops: number };

import type { Body } from './argument.ts';
import type { Daemon } from './daemon.ts';

/** What the function of an operation or a message is given. */
export type Call = {
  body: Body;
  /** Of a message: the node or the address that it is meant for. */
  routingKey: string | null;
  daemon: Daemon;
};

/** Does one thing; resolves to the payload of its reply. */
export type Operation = (call: Call) => Promise<unknown>;

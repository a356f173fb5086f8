/** What the store and its etcd need of a log; a pino logger fits. */
export type StoreLog = {
  info(values: object, message: string): void;
  warn(values: object, message: string): void;
  error(values: object, message: string): void;
};

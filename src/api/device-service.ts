/** Where a consumer on a host finds an attachment as a block device. */
export type DeviceEndpoint = {
  host: string;
  /** `/dev/loopN`: the number may be another one each time. */
  device: string;
  /** The link to it under a name that was asked for. */
  link: string | null;
};

/** What is wished of a device. */
export type DeviceWish = {
  /** A link under this name. */
  name?: string;
  /** Also the attachment, which the device gets ready beside. */
  attach?: boolean;
};

/** Block devices for attachments, on this node or on another one that is asked. */
export interface DeviceService {
  /**
   * Makes the device of the attachment on `host`, or finds it. An attachment that was made for it
   * stays when the device fails.
   * @throws `not-allowed` without an attachment there, `exists` or `conflict` for the link, or what
   *   keeps the volume from being attached
   */
  make(
    idOrName: string,
    host: string,
    wish: DeviceWish,
    signal: AbortSignal,
  ): Promise<DeviceEndpoint>;
  /**
   * Takes it away; none is fine. With `force` those who use it get I/O errors.
   * @throws `in-use` naming who uses it
   */
  remove(idOrName: string, host: string, force: boolean, signal: AbortSignal): Promise<void>;
}

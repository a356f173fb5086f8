import { errorText, HyperscaleError } from '../errors.ts';

/** Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html that are not for us to mend. */
const refused = new Set([
  ...['AccessDenied', 'AllAccessDisabled', 'AccountProblem', 'InvalidAccessKeyId', 'Forbidden'],
  ...['SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'RequestTimeTooSkewed'],
]);
const full = new Set(['QuotaExceeded', 'InsufficientStorage', 'XMinioStorageFull']);

/** True when the store answered with one of the HTTP statuses. */
export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  const status = statusOf(error);
  return status !== undefined && statuses.includes(status);
}

/** What a failed request means, after all tries. */
export function s3Error(error: unknown, what: string): unknown {
  if (error instanceof HyperscaleError) return error;
  const code = error instanceof Error ? error.name : '';
  const text = `${what}: ${code} ${errorText(error)}`;
  const details = { values: { s3Code: code, status: statusOf(error) }, cause: error };
  if (code === 'NoSuchBucket') {
    return new HyperscaleError('not-found', text, { ...details, hint: 'Create the bucket first.' });
  }
  if (full.has(code) || statusOf(error) === 507) {
    return new HyperscaleError('no-space', text, {
      ...details,
      hint: 'Free space on the backup target, or keep fewer backups.',
    });
  }
  if (refused.has(code) || hasStatus(error, 401, 403)) {
    return new HyperscaleError('not-allowed', text, {
      ...details,
      hint: 'Check the access key, its secret, its rights on the bucket, and the clock.',
    });
  }
  return new HyperscaleError('unavailable', text, {
    ...details,
    hint: 'Check endpoint, region and network; what was sent already is not sent again.',
  });
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  if (!('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

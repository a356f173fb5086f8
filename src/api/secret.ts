import { HyperscaleError } from '../errors.ts';

const minSecretLength = 16;

/** The secret that nodes share must be long and fit into an HTTP header. @throws `bad-input` */
export function checkSecret(secret: string): void {
  if (secret.length < minSecretLength) {
    throw new HyperscaleError(
      'bad-input',
      `the secret has ${secret.length} characters; at least ${minSecretLength} are needed`,
      { hint: 'Put a long random text into the secret file, the same on all nodes.' },
    );
  }
  if (!/^[!-~]([ -~]*[!-~])?$/.test(secret)) {
    throw new HyperscaleError(
      'bad-input',
      'the secret has characters that do not fit into an HTTP header',
      { hint: 'Use one line of ASCII characters.' },
    );
  }
}

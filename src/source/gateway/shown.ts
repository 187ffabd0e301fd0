/**
 * What a gateway says, as it may be shown: without the secrets that it was given, which it may repeat, without control
 * characters, and short. It is made so where it comes in, so that nobody who shows it has to think of that.
 */
import { redact } from '../../util/redact.js';
import type { GatewayError } from './frames.js';
import type { Hello } from './handshake.js';
import { cleaned, isKnownCode } from './refusals.js';

/** Makes a text of the gateway one that may be shown. */
export type Shown = (text: string) => string;

/** The secrets are those at the time of each call: a gateway may give a new one. */
export const createShown =
  (secrets: readonly string[]): Shown =>
  (text) =>
    // Before it is cut, so that no part of one stays.
    cleaned(redact(text, secrets, '…'));

/** A code that is known is read, never shown: it stays as it is, whatever the secret. */
const shownCode = (code: string, shown: Shown): string => (isKnownCode(code) ? code : shown(code));

/** An error whose words may be shown. */
export function shownError({ code, message, details }: GatewayError, shown: Shown): GatewayError {
  const said = Object.entries(details).map(([name, value]) => [
    name,
    typeof value === 'string' ? shownCode(value, shown) : value,
  ]);
  return { code: shownCode(code, shown), message: shown(message), details: Object.fromEntries(said) };
}

/** A hello of which may be shown what people are told: the version and the scopes. */
export const shownHello = (hello: Hello, shown: Shown): Hello => ({
  ...hello,
  server_version: shown(hello.server_version),
  scopes: hello.scopes.map(shown),
});

/**
 * Makes text from a gateway safe to show: without the secrets that the gateway was given and may repeat, without control
 * characters, and short. This is done where the text comes in, so that no code that shows it has to care.
 */
import { redact } from '../../../util/redact.js';
import type { GatewayError } from './frames.js';
import type { Hello } from './handshake.js';
import { cleaned, isKnownCode } from './refusals.js';

/** Makes text from the gateway safe to show. */
export type Shown = (text: string) => string;

/** The secrets are read at each call: a gateway may issue a new one. */
export const createShown =
  (secrets: readonly string[]): Shown =>
  (text) =>
    // Before the text is cut, so that no part of a secret remains.
    cleaned(redact(text, secrets, '…'));

/** A known code is compared and never shown, so it stays unchanged even if a secret occurs in it. */
const shownCode = (code: string, shown: Shown): string => (isKnownCode(code) ? code : shown(code));

/** An error whose texts are safe to show. */
export function shownError({ code, message, details }: GatewayError, shown: Shown): GatewayError {
  const cleaned = Object.entries(details).map(([name, value]) => [
    name,
    typeof value === 'string' ? shownCode(value, shown) : value,
  ]);
  return { code: shownCode(code, shown), message: shown(message), details: Object.fromEntries(cleaned) };
}

/** A hello whose shown fields are safe: the version and the scopes. */
export const shownHello = (hello: Hello, shown: Shown): Hello => ({
  ...hello,
  server_version: shown(hello.server_version),
  scopes: hello.scopes.map(shown),
});

/**
 * Finds an endpoint's secrets and redacts them in a text, since a backend may repeat in a response what it was sent.
 */
import { isScheme, redact } from '../util/redact.js';
import type { EndpointConfig } from './config.js';

/** Shorter values are not secret, and would match everywhere. */
const SHORTEST_SECRET = 6;

const isSecret = (text: string): boolean => text.length >= SHORTEST_SECRET && !isScheme(text);

/** Reads the secrets at the time of the call, since a token may be renewed. */
function secretsOf({ headers, bearer, proxy }: EndpointConfig): string[] {
  const values = [...Object.values(headers), ...(bearer?.secrets ?? []), proxy?.authorization ?? ''];
  return values.flatMap((value) => [value, ...value.split(/\s+/)]).filter(isSecret);
}

/** Redacts the endpoints' secrets. The text may have been cut before, but only at its end. */
export const redactSecrets = (
  text: string,
  endpoints: readonly EndpointConfig[],
  mark = '[redacted]',
): string => redact(text, endpoints.flatMap(secretsOf), mark);

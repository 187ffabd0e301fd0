/**
 * What of an endpoint nobody may see, and how it is taken out of a text: a backend may repeat in an answer what it was sent.
 */
import { isScheme, redact } from '../util/redact.js';
import type { EndpointConfig } from './config.js';

/** Shorter values are no secrets, and would be found everywhere. */
const SHORTEST_SECRET = 6;

const isSecret = (text: string): boolean => text.length >= SHORTEST_SECRET && !isScheme(text);

/** As they are at the time of the call: a token may be renewed. */
function secretsOf({ headers, bearer, proxy }: EndpointConfig): string[] {
  const values = [...Object.values(headers), ...(bearer?.secrets ?? []), proxy?.authorization ?? ''];
  return values.flatMap((value) => [value, ...value.split(/\s+/)]).filter(isSecret);
}

/** A text may have been cut before, but only at its end. */
export const redactSecrets = (
  text: string,
  endpoints: readonly EndpointConfig[],
  mark = '[redacted]',
): string => redact(text, endpoints.flatMap(secretsOf), mark);

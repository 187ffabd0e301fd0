/**
 * What of an endpoint nobody may see, and how it is taken out of a text: a backend may repeat in an answer what it was sent.
 */
import type { EndpointConfig } from './config.js';

/** Shorter values are no secrets, and would be found everywhere. */
const SHORTEST_SECRET = 6;

/** The scheme before a credential is none. */
const isSecret = (text: string): boolean => text.length >= SHORTEST_SECRET && !/^(bearer|basic)$/i.test(text);

/** As they are at the time of the call: a token may be renewed. The longest first, as it may hold another. */
function secretsOf({ headers, bearer, proxy }: EndpointConfig): string[] {
  const values = [...Object.values(headers), ...(bearer?.secrets ?? []), proxy?.authorization ?? ''];
  return values.flatMap((value) => [value, ...value.split(/\s+/)]).filter(isSecret);
}

/** Where a text ends in this secret, or in the beginning of it, as one that has been cut does: where that begins. */
function tailStart(text: string, secret: string): number {
  for (let length = Math.min(secret.length, text.length); length >= SHORTEST_SECRET; length--) {
    const beginning = secret.slice(0, length);
    if (isSecret(beginning) && text.endsWith(beginning)) return text.length - length;
  }
  return text.length;
}

/** A text may have been cut before, but only at its end. */
export function redactSecrets(
  text: string,
  endpoints: readonly EndpointConfig[],
  mark = '[redacted]',
): string {
  const secrets = endpoints.flatMap(secretsOf).sort((a, b) => b.length - a.length);
  const end = Math.min(text.length, ...secrets.map((secret) => tailStart(text, secret)));
  const whole = secrets.reduce((left, secret) => left.replaceAll(secret, mark), text.slice(0, end));
  return end < text.length ? whole + mark : whole;
}

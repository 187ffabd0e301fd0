/**
 * URLs of OTLP backends: the check that they can be used and shown, and where each signal goes. A URL that has passed the
 * check holds no secret, so it may stand in a log or an error; one that has not is never repeated.
 */
import type { Signal } from '../model/delivery.js';

/** Why this cannot be the URL of a backend, or `undefined` where it can. The URL itself is not in the answer. */
export function urlProblem(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    return 'is not an http:// or https:// URL';
  }
  if (url.username !== '' || url.password !== '') {
    return 'holds credentials; put them into a header (OTEL_EXPORTER_OTLP_HEADERS, or "headers" in the configuration file)';
  }
  if (text.includes('?') || text.includes('#')) return 'holds a query or a fragment; give the base URL alone';
  return undefined;
}

/** `http://host:4318` and `http://host:4318/` → `http://host:4318/v1/traces`. The base has passed `urlProblem`. */
export function signalUrl(base: string, signal: Signal): string {
  return `${new URL(base).href.replace(/\/+$/, '')}/v1/${signal}`;
}

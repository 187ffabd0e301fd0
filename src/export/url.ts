/**
 * URLs of OTLP backends: whether one can be used and shown, and the URL of each signal. A URL that has passed the check
 * contains no secret and may appear in logs and errors; one that has not is never repeated.
 */
import type { Signal } from '../model/delivery.js';

/** Why this can't be the URL of a backend, without repeating it; `undefined` if it can. */
export function urlProblem(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    return 'is not an http:// or https:// URL';
  }
  if (url.username !== '' || url.password !== '') {
    return 'contains credentials; put them in a header (OTEL_EXPORTER_OTLP_HEADERS, or "headers" in the configuration file)';
  }
  if (text.includes('?') || text.includes('#'))
    return 'contains a query or a fragment; give only the base URL';
  return undefined;
}

/** `http://host:4318` and `http://host:4318/` → `http://host:4318/v1/traces`. The base has passed `urlProblem`. */
export function signalUrl(base: string, signal: Signal): string {
  return `${new URL(base).href.replace(/\/+$/, '')}/v1/${signal}`;
}

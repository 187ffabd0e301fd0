/**
 * Asks a backend what it says to an empty export: whether it is there, takes the encoding and lets us in. Nothing is stored
 * by it, so that it may be asked at any time.
 */
import type { Signal } from '../model/delivery.js';
import type { EndpointConfig } from './config.js';
import { createTransport } from './transport.js';
import type { Outcome } from './verdict.js';

/** A request with nothing in it, as JSON. */
export const EMPTY_JSON: Readonly<Record<Signal, string>> = {
  traces: '{"resourceSpans":[]}',
  metrics: '{"resourceMetrics":[]}',
  logs: '{"resourceLogs":[]}',
};

/** In protobuf, a request with nothing in it has no bytes. */
const emptyRequest = (signal: Signal, { encoding }: EndpointConfig): Uint8Array =>
  encoding === 'json' ? Buffer.from(EMPTY_JSON[signal]) : new Uint8Array();

/** Never rejects, and takes no longer than this. */
export async function probeEndpoint(
  endpoint: EndpointConfig,
  signal: Signal,
  timeout_ms: number,
): Promise<Outcome> {
  const bounded = { ...endpoint, timeout_ms: Math.min(endpoint.timeout_ms, timeout_ms) };
  const transport = createTransport(bounded);
  try {
    return await transport.post(emptyRequest(signal, endpoint), new AbortController().signal);
  } finally {
    await transport.close();
  }
}

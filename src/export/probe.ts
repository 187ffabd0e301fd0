/**
 * Sends a backend an empty export, to learn whether it is there, accepts the encoding and grants access. Nothing is stored, so
 * it can be sent at any time.
 */
import type { Signal } from '../model/delivery.js';
import type { EndpointConfig } from './config.js';
import { createTransport } from './transport.js';
import type { Outcome } from './verdict.js';

/** An empty request, as JSON. */
export const EMPTY_JSON: Readonly<Record<Signal, string>> = {
  traces: '{"resourceSpans":[]}',
  metrics: '{"resourceMetrics":[]}',
  logs: '{"resourceLogs":[]}',
};

/** In protobuf, an empty request has no bytes. */
const emptyRequest = (signal: Signal, { encoding }: EndpointConfig): Uint8Array =>
  encoding === 'json' ? Buffer.from(EMPTY_JSON[signal]) : new Uint8Array();

/** Sends the probe. Never rejects, and takes at most `timeout_ms`. */
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

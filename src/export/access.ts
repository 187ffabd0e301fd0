/**
 * Advice for a backend that refuses access (401, 403): which token it expects, and where to set it. The text contains no token.
 */
import type { DestinationConfig, EndpointConfig } from './config.js';
import { httpReason } from './reasons.js';

const ACCESS_REFUSED: ReadonlySet<string> = new Set([httpReason(401), httpReason(403)]);

/** Whether this reason means that access was refused. */
export const isAccessRefused = (reason: string): boolean => ACCESS_REFUSED.has(reason);

/** ClawMetry expects the token of its OpenClaw gateway, which the bridge may have in this variable. */
const GATEWAY_TOKEN = 'OPENCLAW_GATEWAY_TOKEN';

/** Unless the environment names an endpoint, its headers go to every backend but ClawMetry. */
function adviseToken({ preset, name }: DestinationConfig): string {
  const place = `for destination ${name} in the configuration file`;
  return preset === 'clawmetry'
    ? `set the token of its OpenClaw gateway with "bearer: {env: ${GATEWAY_TOKEN}}" (or {file: PATH}) ${place}`
    : `set its token with "bearer: {env: NAME}" (or {file: PATH}) ${place}, or authorization=Bearer%20… in OTEL_EXPORTER_OTLP_HEADERS`;
}

export function accessAdvice(config: DestinationConfig, { bearer, headers }: EndpointConfig): string {
  const { preset, name } = config;
  const given = Object.keys(headers);
  if (bearer === undefined && given.length === 0) return adviseToken(config);
  const right = preset === 'clawmetry' ? 'the token of its OpenClaw gateway' : 'a token that it accepts';
  if (bearer !== undefined) return `it refused the token in ${bearer.place}; replace it with ${right}`;
  const places = `OTEL_EXPORTER_OTLP_HEADERS, or in "headers" of destination ${name} in the configuration file`;
  return `it refused the headers that it was sent (${given.join(', ')}); set ${right} in ${places}`;
}

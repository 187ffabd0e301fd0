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

function adviseToken({ preset, name }: DestinationConfig, variable: string | undefined): string {
  const or_header = variable === undefined ? '' : `, or authorization=Bearer%20… in ${variable}`;
  const places = `for destination ${name} in the configuration file${or_header}`;
  return preset === 'clawmetry'
    ? `set the token of its OpenClaw gateway with "bearer: {env: ${GATEWAY_TOKEN}}" (or {file: PATH}) ${places}`
    : `set its token with "bearer: {env: NAME}" (or {file: PATH}) ${places}`;
}

/** Where these headers can be changed: what the environment sets, the configuration file can't. */
function placesOf(
  given: string[],
  { name }: DestinationConfig,
  environment: EndpointConfig['environment_headers'],
): string {
  const in_file = `"headers" of destination ${name} in the configuration file`;
  if (environment === undefined) return in_file;
  const { variable, names } = environment;
  return given.every((header) => names.includes(header)) ? variable : `${variable}, or in ${in_file}`;
}

export function accessAdvice(
  config: DestinationConfig,
  { bearer, headers, environment_headers }: EndpointConfig,
): string {
  const given = Object.keys(headers);
  if (bearer === undefined && given.length === 0) return adviseToken(config, environment_headers?.variable);
  const right =
    config.preset === 'clawmetry' ? 'the token of its OpenClaw gateway' : 'a token that it accepts';
  if (bearer !== undefined) return `it refused the token in ${bearer.place}; replace it with ${right}`;
  return `it refused the headers that it was sent (${given.join(', ')}); set ${right} in ${placesOf(given, config, environment_headers)}`;
}

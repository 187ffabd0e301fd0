/**
 * Why a gateway can't be used, as a message for people: what is wrong, at which address, and what to do. None of these ends
 * the program, since each can be mended on the other side while it waits; some are not worth asking again for soon.
 */

import { errorReason } from '../../errors.js';
import { number, text } from '../../json.js';
import type { GatewayError } from './frames.js';
import { PROTOCOLS, READ_SCOPE } from './handshake.js';

export interface Refusal {
  kind: 'refusal';
  /** For the summary and for `doctor`: `unreachable`, `token_refused`, … */
  reason: RefusalReason;
  /** What is wrong and what to do, to be read after the gateway's address. Never holds a secret. */
  message: string;
}

export type RefusalReason =
  | 'unreachable'
  | 'not_a_gateway'
  | 'no_answer'
  | 'token_missing'
  | 'token_refused'
  | 'password_refused'
  | 'pairing_required'
  | 'device_refused'
  | 'scope_missing'
  | 'protocol_unsupported'
  | 'origin_refused'
  | 'busy'
  | 'refused';

/** Refusals that somebody has to mend by hand. They are asked again for every 30 s, not with a growing wait. */
const MENDED_BY_HAND: ReadonlySet<RefusalReason> = new Set([
  'token_missing',
  'token_refused',
  'password_refused',
  'protocol_unsupported',
  'scope_missing',
  'origin_refused',
  'device_refused',
]);

export const isMendedByHand = ({ reason }: Refusal): boolean => MENDED_BY_HAND.has(reason);

export const refusal = (reason: RefusalReason, message: string): Refusal => ({
  kind: 'refusal',
  reason,
  message,
});

const SET_TOKEN = "set OPENCLAW_GATEWAY_TOKEN to the gateway's token (gateway.auth.token in openclaw.json)";

const TOO_OLD = `update OpenClaw, or follow its transcript files with --from transcripts:DIR`;

/** What the gateway speaks decides who has to be updated. */
function protocolMismatch({ details }: GatewayError): Refusal {
  const theirs = number(details.expectedProtocol);
  const advice = theirs === undefined || theirs > PROTOCOLS.max ? 'update openclaw-otel-bridge' : TOO_OLD;
  return refusal(
    'protocol_unsupported',
    `speaks protocol ${theirs ?? 'of another version'}, and the bridge ${PROTOCOLS.min} to ${PROTOCOLS.max}; ${advice}`,
  );
}

function pairingRequired({ details }: GatewayError): Refusal {
  const id = text(details.requestId);
  const command =
    id === undefined
      ? 'run `openclaw devices list` on its machine and approve the request of openclaw-otel-bridge'
      : `run on its machine: openclaw devices approve ${id.replaceAll(/[^\w.:-]/g, '')}`;
  return refusal('pairing_required', `wants this bridge to be paired; ${command}`);
}

const missingScope = (scope: string): Refusal =>
  refusal(
    'scope_missing',
    `gives this token no scope ${scope}; use a token that has it, or pair this bridge as a device`,
  );

/** The scopes that a gateway granted do not let the bridge read. */
export const scopesCleared = (): Refusal => missingScope(READ_SCOPE);

type Reader = (error: GatewayError) => Refusal;

const always =
  (reason: RefusalReason, message: string): Reader =>
  () =>
    refusal(reason, message);

/** By `details.code`, as observed on OpenClaw 2026.9.6 and as its documentation lists them. */
const BY_CODE: Record<string, Reader> = {
  AUTH_TOKEN_MISMATCH: always('token_refused', `refuses the token; ${SET_TOKEN}`),
  AUTH_TOKEN_MISSING: always('token_missing', `wants a token; ${SET_TOKEN}`),
  AUTH_TOKEN_NOT_CONFIGURED: always(
    'token_missing',
    'has no token configured; set gateway.auth.token in its openclaw.json, and OPENCLAW_GATEWAY_TOKEN here',
  ),
  AUTH_UNAUTHORIZED: always('token_refused', `refuses to let the bridge in; ${SET_TOKEN}`),
  AUTH_REQUIRED: always('token_missing', `wants a token; ${SET_TOKEN}`),
  AUTH_PASSWORD_MISMATCH: always(
    'password_refused',
    'refuses the password; set gateway.password in the configuration file to its gateway.auth.password',
  ),
  AUTH_PASSWORD_MISSING: always(
    'password_refused',
    'wants a password; set gateway.password in the configuration file to its gateway.auth.password',
  ),
  AUTH_DEVICE_TOKEN_MISMATCH: always(
    'token_refused',
    `no longer takes this bridge's device token; ${SET_TOKEN}, and it gives a new one`,
  ),
  AUTH_SCOPE_MISMATCH: always(
    'scope_missing',
    `gives this bridge's device token no scope ${READ_SCOPE}; approve the device again on its machine (openclaw devices list)`,
  ),
  AUTH_RATE_LIMITED: always('busy', 'has seen too many failed attempts; it is asked again later'),
  DEVICE_IDENTITY_REQUIRED: always('token_missing', `lets nobody in without a token; ${SET_TOKEN}`),
  PAIRING_REQUIRED: pairingRequired,
  PROTOCOL_MISMATCH: protocolMismatch,
  CONTROL_UI_ORIGIN_NOT_ALLOWED: always(
    'origin_refused',
    'takes the bridge for a web page; check the proxy in front of it',
  ),
  MISSING_SCOPE: ({ details }) => missingScope(text(details.missingScope) ?? READ_SCOPE),
};

const MAX_SHOWN = 200;

const isAboutDevice = (code: string): boolean => code.startsWith('DEVICE_AUTH_');

/** Text of the other side that goes on a terminal: short, and without control characters or the secrets given to it. */
const shown = (message: string): string => message.replaceAll(/\p{Cc}/gu, ' ').slice(0, MAX_SHOWN);

/** Why the gateway refused `connect` or a call. */
export function describeError(error: GatewayError): Refusal {
  const code = text(error.details.code) ?? error.code;
  const known = BY_CODE[code];
  if (known !== undefined) return known(error);
  if (isAboutDevice(code)) {
    const advice =
      "check that this machine's clock is right, and delete the device key in the data directory";
    return refusal('device_refused', `refuses this bridge's device proof (${code}); ${advice}`);
  }
  if (error.code === 'UNAVAILABLE') return refusal('busy', `can't answer now: ${shown(error.message)}`);
  return refusal('refused', `refuses the connection: ${shown(error.message)} (${shown(code)})`);
}

const UNAVAILABLE = 503;

/** Why no WebSocket came about. */
export function describeFailure(error: unknown, http_status: number | undefined): Refusal {
  const advice = 'check the address and what listens there';
  if (http_status === UNAVAILABLE) return refusal('busy', 'is not ready yet (HTTP 503)');
  if (http_status !== undefined)
    return refusal('not_a_gateway', `answers HTTP ${http_status} and is no gateway; ${advice}`);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('WS_ERR') || code.startsWith('HPE_') || code === 'EPROTO')
    return refusal('not_a_gateway', `speaks no WebSocket (${shown(errorReason(error))}); ${advice}`);
  return refusal(
    'unreachable',
    `can't be reached: ${shown(errorReason(error))}; start it with: openclaw gateway`,
  );
}

/** It took the connection and then said nothing that a gateway would say. */
export const silent = (seconds: number): Refusal =>
  refusal(
    'no_answer',
    `takes the connection and says nothing for ${seconds} s; check that an OpenClaw gateway listens there`,
  );

/** It took `connect` and answered with something else than a hello. */
export const notHello = (): Refusal =>
  refusal('not_a_gateway', 'answers in a way that no gateway does; check the address and what listens there');

/** It closed the connection before it had answered. */
export function closedEarly(code: number, reason: string): Refusal {
  const why = reason === '' ? '' : `, saying "${shown(reason)}"`;
  return refusal('refused', `closes the connection at once (code ${code}${why}); check its log`);
}

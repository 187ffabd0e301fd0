/**
 * Why a gateway can't be used, as messages for the user: what is wrong, at which address, and what to do. None of these ends
 * the program, since each can be fixed on the other side while the bridge waits; some are not worth retrying soon. Text from
 * the gateway in them has already been made safe to show (`shown.ts`).
 */

import { errorCode, errorReason } from '../../../util/errors.js';
import { number, text } from '../../../util/json.js';
import type { GatewayError } from './frames.js';
import { PROTOCOLS, READ_SCOPE } from './handshake.js';

export interface Refusal {
  kind: 'refusal';
  reason: RefusalReason;
  /** What is wrong, to be read after the gateway's address. */
  found: string;
  /** What to do about it. */
  advice?: string;
  /** Both, as one sentence. */
  message: string;
}

export type RefusalReason =
  | 'unreachable'
  | 'not_a_gateway'
  | 'no_answer'
  | 'token_missing'
  | 'token_refused'
  | 'password_missing'
  | 'password_refused'
  | 'certificate_refused'
  | 'pairing_required'
  | 'device_refused'
  | 'scope_missing'
  | 'protocol_unsupported'
  | 'origin_refused'
  | 'busy'
  | 'refused';

/** Refusals that somebody has to fix by hand. They are retried every 30 s, without growing backoff. */
const MENDED_BY_HAND: ReadonlySet<RefusalReason> = new Set([
  'token_missing',
  'token_refused',
  'password_missing',
  'password_refused',
  'certificate_refused',
  'protocol_unsupported',
  'scope_missing',
  'origin_refused',
  'device_refused',
]);

export const isMendedByHand = ({ reason }: Refusal): boolean => MENDED_BY_HAND.has(reason);

export const refusal = (reason: RefusalReason, found: string, advice?: string): Refusal => ({
  kind: 'refusal',
  reason,
  found,
  ...(advice === undefined ? {} : { advice }),
  message: advice === undefined ? found : `${found}; ${advice}`,
});

const SET_TOKEN = "set OPENCLAW_GATEWAY_TOKEN to the gateway's token (gateway.auth.token in openclaw.json)";
const SET_PASSWORD =
  "set OPENCLAW_GATEWAY_PASSWORD to the gateway's password (gateway.auth.password in openclaw.json)";

const TOO_OLD = 'update OpenClaw, or follow its transcript files with --from transcripts:DIR';

/** The gateway has no subscription to all sessions, without which it pushes no tool calls and no messages. */
export const cantSubscribe = (): Refusal =>
  refusal('protocol_unsupported', "is too old: it can't push the events of all sessions", TOO_OLD);

/** The gateway's protocol version decides which side has to be updated. */
function protocolMismatch({ details }: GatewayError): Refusal {
  const theirs = number(details.expectedProtocol);
  const protocol = theirs === undefined ? 'another protocol version' : `protocol ${theirs}`;
  const found = `speaks ${protocol}, but the bridge supports ${PROTOCOLS.min} to ${PROTOCOLS.max}`;
  if (theirs !== undefined && theirs < PROTOCOLS.min) {
    return refusal('protocol_unsupported', found, TOO_OLD);
  }
  return refusal('protocol_unsupported', found, 'update openclaw-otel-bridge');
}

/** OpenClaw's own format of request ids: nothing else may get into a command that a user copies. */
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

function pairingRequired({ details }: GatewayError): Refusal {
  const id = text(details.requestId);
  const advice =
    id !== undefined && REQUEST_ID.test(id)
      ? `run on the gateway's machine: openclaw devices approve ${id}`
      : "run on the gateway's machine: openclaw devices list, and approve the request of openclaw-otel-bridge";
  return refusal('pairing_required', 'requires this bridge to be paired', advice);
}

const missingScope = (scope: string): Refusal =>
  refusal(
    'scope_missing',
    `does not grant this token the scope ${scope}`,
    'use a token with that scope, or pair this bridge as a device',
  );

/** The scopes that the gateway granted do not let the bridge read. */
export const scopesCleared = (): Refusal => missingScope(READ_SCOPE);

type Reader = (error: GatewayError) => Refusal;

const always =
  (reason: RefusalReason, found: string, advice: string): Reader =>
  () =>
    refusal(reason, found, advice);

/** By `details.code`, as observed on OpenClaw 2026.9.6 and as listed in its documentation. */
const BY_CODE: Record<string, Reader> = {
  AUTH_TOKEN_MISMATCH: always('token_refused', 'rejected the token', SET_TOKEN),
  AUTH_TOKEN_MISSING: always('token_missing', 'requires a token', SET_TOKEN),
  AUTH_TOKEN_NOT_CONFIGURED: always(
    'token_missing',
    'has no token configured',
    'set gateway.auth.token in its openclaw.json, and OPENCLAW_GATEWAY_TOKEN here to the same value',
  ),
  AUTH_UNAUTHORIZED: always('token_refused', 'denied access', SET_TOKEN),
  AUTH_REQUIRED: always('token_missing', 'requires a token', SET_TOKEN),
  AUTH_PASSWORD_MISMATCH: always('password_refused', 'rejected the password', SET_PASSWORD),
  AUTH_PASSWORD_MISSING: always('password_missing', 'requires a password', SET_PASSWORD),
  AUTH_PASSWORD_NOT_CONFIGURED: always(
    'password_missing',
    'has no password configured',
    'set gateway.auth.password in its openclaw.json, and OPENCLAW_GATEWAY_PASSWORD here to the same value',
  ),
  AUTH_DEVICE_TOKEN_MISMATCH: always(
    'token_refused',
    "no longer accepts this bridge's device token",
    SET_TOKEN,
  ),
  AUTH_SCOPE_MISMATCH: always(
    'scope_missing',
    `does not grant this bridge's device token the scope ${READ_SCOPE}`,
    "approve the device again on the gateway's machine (openclaw devices list)",
  ),
  AUTH_RATE_LIMITED: always(
    'busy',
    'blocks connections after too many failed attempts',
    'check the token or password, and wait',
  ),
  DEVICE_IDENTITY_REQUIRED: always(
    'token_missing',
    'requires a token or a password',
    `${SET_TOKEN}, or OPENCLAW_GATEWAY_PASSWORD if it uses a password`,
  ),
  PAIRING_REQUIRED: pairingRequired,
  PROTOCOL_MISMATCH: protocolMismatch,
  CONTROL_UI_ORIGIN_NOT_ALLOWED: always(
    'origin_refused',
    'mistook the bridge for a web page and rejected its origin',
    'check that no proxy in front of it adds an Origin header',
  ),
  MISSING_SCOPE: ({ details }) => missingScope(text(details.missingScope) ?? READ_SCOPE),
};

const MAX_SHOWN = 200;

/** Makes foreign text safe for a terminal: short, and without control characters. */
export const cleaned = (message: string): string =>
  message
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, MAX_SHOWN)
    .toWellFormed();

const UNAVAILABLE = 'UNAVAILABLE';

/** Whether a code selects one of the messages here. Such a code is never shown. */
export const isKnownCode = (code: string): boolean => code === UNAVAILABLE || Object.hasOwn(BY_CODE, code);

const isAboutDevice = (code: string): boolean => code.startsWith('DEVICE_AUTH_');

/** Why the gateway refused `connect` or a call. */
export function describeError(error: GatewayError): Refusal {
  const code = text(error.details.code) ?? error.code;
  const known = Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  if (known !== undefined) return known(error);
  if (isAboutDevice(code)) {
    return refusal(
      'device_refused',
      `rejected this bridge's device authentication (${code})`,
      "check that this machine's clock is right; if it is, use another data directory (--data-dir), where the bridge creates a new device key, and pair it again",
    );
  }
  if (error.code === UNAVAILABLE) return refusal('busy', `is unavailable: ${error.message}`);
  return refusal('refused', `rejected the connection: ${error.message} (${code})`);
}

/** Sent by the gateway itself while it starts, or by a proxy whose gateway is down. */
const UNREADY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

const CHECK_ADDRESS = 'check the URL and what listens there';

/** Why the WebSocket could not be opened. */
export function describeFailure(error: unknown, http_status: number | undefined): Refusal {
  if (http_status === undefined) return describeSocketError(error);
  return UNREADY_STATUSES.has(http_status)
    ? refusal('busy', `is not ready yet (HTTP ${http_status})`)
    : refusal('not_a_gateway', `answered HTTP ${http_status} instead of opening a WebSocket`, CHECK_ADDRESS);
}

function describeSocketError(error: unknown): Refusal {
  const code = errorCode(error) ?? '';
  if (/^(EPROTO|ERR_SSL)/.test(code))
    return refusal('not_a_gateway', 'failed the TLS handshake', 'use ws:// if it has no TLS');
  if (/CERT|^UNABLE_TO/.test(code)) {
    return refusal(
      'certificate_refused',
      `has a certificate that is not trusted (${code})`,
      'use the host name that the certificate is for, and set NODE_EXTRA_CA_CERTS to the file of its certificate authority',
    );
  }
  if (/^(WS_ERR|HPE_)/.test(code)) return refusal('not_a_gateway', 'does not speak WebSocket', CHECK_ADDRESS);
  const advice = code === 'ECONNREFUSED' ? 'start it with: openclaw gateway' : 'check the URL';
  return refusal('unreachable', `can't be reached: ${cleaned(errorReason(error))}`, advice);
}

/** The server accepted the connection and then sent nothing that a gateway would send. */
export const silent = (seconds: number): Refusal =>
  refusal(
    'no_answer',
    `did not complete the handshake within ${seconds} s`,
    'check that an OpenClaw gateway listens there',
  );

/** The server answered `connect` with something other than a hello. */
export const notHello = (): Refusal =>
  refusal('not_a_gateway', 'sent an invalid answer to the connect request', CHECK_ADDRESS);

/** The WebSocket close codes of a server that restarts (1012), and of one that asks to be tried again later (1013). */
const UNREADY_CODES: ReadonlySet<number> = new Set([1012, 1013]);

/** The server closed the connection before the handshake was complete. */
export function closedEarly(code: number, reason: string): Refusal {
  const why = reason === '' ? '' : `, "${reason}"`;
  if (UNREADY_CODES.has(code)) return refusal('busy', `is not ready yet (code ${code}${why})`);
  return refusal(
    'refused',
    `closed the connection during the handshake (code ${code}${why})`,
    "check the gateway's log",
  );
}

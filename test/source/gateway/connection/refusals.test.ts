/** Why a gateway can't be used, by the codes that it, its proxy or the system give, and which reasons somebody has to mend. */
import { describe, expect, test } from 'vitest';
import {
  cleaned,
  closedEarly,
  describeError,
  describeFailure,
  isMendedByHand,
  type RefusalReason,
} from '../../../../src/source/gateway/connection/refusals.js';
import type { Json } from '../../../../src/util/json.js';

const errorOf = (code: string, details: Json = {}) => ({
  code: 'INVALID_REQUEST',
  message: 'no',
  details: { code, ...details },
});

const TOKEN = "set OPENCLAW_GATEWAY_TOKEN to the gateway's token (gateway.auth.token in openclaw.json)";
const CHECK = 'check the URL and what listens there';

test.each<[string, RefusalReason, string, string]>([
  ['AUTH_TOKEN_MISSING', 'token_missing', 'requires a token', TOKEN],
  ['AUTH_REQUIRED', 'token_missing', 'requires a token', TOKEN],
  ['AUTH_UNAUTHORIZED', 'token_refused', 'denied access', TOKEN],
  [
    'AUTH_TOKEN_NOT_CONFIGURED',
    'token_missing',
    'has no token configured',
    'set gateway.auth.token in its openclaw.json, and OPENCLAW_GATEWAY_TOKEN here to the same value',
  ],
  [
    'AUTH_PASSWORD_NOT_CONFIGURED',
    'password_missing',
    'has no password configured',
    'set gateway.auth.password in its openclaw.json, and OPENCLAW_GATEWAY_PASSWORD here to the same value',
  ],
  [
    'AUTH_SCOPE_MISMATCH',
    'scope_missing',
    "does not grant this bridge's device token the scope operator.read",
    "approve the device again on the gateway's machine (openclaw devices list)",
  ],
  [
    'PROTOCOL_MISMATCH',
    'protocol_unsupported',
    'speaks another protocol version, but the bridge supports 3 to 4',
    'update openclaw-otel-bridge',
  ],
])('the code %s is explained', (code, reason, found, advice) => {
  expect(describeError(errorOf(code))).toMatchObject({ reason, found, advice });
});

test('a missing scope is named', () => {
  const { found } = describeError(errorOf('MISSING_SCOPE', { missingScope: 'operator.admin' }));
  expect(found).toBe('does not grant this token the scope operator.admin');
  expect(describeError(errorOf('MISSING_SCOPE')).found).toBe(
    'does not grant this token the scope operator.read',
  );
});

test.each<[RefusalReason, boolean]>([
  ['token_missing', true],
  ['token_refused', true],
  ['password_missing', true],
  ['password_refused', true],
  ['certificate_refused', true],
  ['protocol_unsupported', true],
  ['scope_missing', true],
  ['origin_refused', true],
  ['device_refused', true],
  ['unreachable', false],
  ['not_a_gateway', false],
  ['no_answer', false],
  ['pairing_required', false],
  ['busy', false],
  ['refused', false],
])('somebody has to mend %s: %s', (reason, expected) => {
  expect(isMendedByHand({ kind: 'refusal', reason, found: '', message: '' })).toBe(expected);
});

describe('a gateway that is not ready yet', () => {
  test.each([502, 503, 504])('answers HTTP %i', (status) => {
    expect(describeFailure(undefined, status)).toMatchObject({ reason: 'busy' });
  });

  test.each([501, 505])('does not answer HTTP %i', (status) => {
    expect(describeFailure(undefined, status)).toMatchObject({ reason: 'not_a_gateway', advice: CHECK });
  });

  test.each([
    [1012, 'busy'],
    [1013, 'busy'],
    [1011, 'refused'],
    [1014, 'refused'],
  ])('closes with the code 1012 or 1013: %i', (code, reason) => {
    expect(closedEarly(code, '').reason).toBe(reason);
  });
});

test.each<[string, RefusalReason, string | undefined]>([
  ['EPROTO', 'not_a_gateway', 'use ws:// if it has no TLS'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'not_a_gateway', 'use ws:// if it has no TLS'],
  ['CERT_HAS_EXPIRED', 'certificate_refused', undefined],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate_refused', undefined],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate_refused', undefined],
  ['WS_ERR_INVALID_OPCODE', 'not_a_gateway', CHECK],
  ['HPE_INVALID_CONSTANT', 'not_a_gateway', CHECK],
  ['ECONNREFUSED', 'unreachable', 'start it with: openclaw gateway'],
  ['ETIMEDOUT', 'unreachable', 'check the URL'],
])('the error %s of a socket is explained', (code, reason, advice) => {
  const refusal = describeFailure(Object.assign(new Error('failed\u001b[2J'), { code }), undefined);
  expect(refusal.reason).toBe(reason);
  if (advice !== undefined) expect(refusal.advice).toBe(advice);
  expect(refusal.message).not.toContain('\u001b');
});

test('text from a gateway is shown without control characters, in 200 characters, and well-formed', () => {
  expect(cleaned('a\u0000\n\u001bb')).toBe('a   b');
  expect(cleaned('x'.repeat(201))).toBe('x'.repeat(200));
  expect(cleaned(`${'x'.repeat(199)}😀`)).toBe(`${'x'.repeat(199)}\ufffd`);
});

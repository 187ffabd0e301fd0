import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EndpointConfig } from '../../src/export/config.js';
import { redactSecrets } from '../../src/export/secrets.js';

const endpoint = (headers: Record<string, string>): EndpointConfig => ({
  url: 'https://backend.example/v1/traces',
  encoding: 'json',
  compression: 'none',
  headers,
  tls: {},
  timeout_ms: 1_000,
});

const hidden = fc.string({ unit: fc.constantFrom(...'abc1'), minLength: 6, maxLength: 40 });

test('wherever a text is cut, no part of a token is left but its first few characters', () => {
  fc.assert(
    fc.property(hidden, fc.constantFrom('Bearer ', 'Basic ', ''), fc.nat(100), (token, scheme, cut) => {
      const said = `TOKEN: ${scheme}${token}; TOKEN: ${token}`.slice(0, cut);
      const shown = redactSecrets(said, [endpoint({ authorization: `${scheme}${token}` })]);
      expect(shown).not.toContain(token.slice(0, 6));
      expect(shown.slice(0, 7)).toBe('TOKEN: '.slice(0, cut));
    }),
  );
});

test('a secret that begins as another one does is known where it is cut', () => {
  const endpoints = [endpoint({ 'x-tenant': 'tenant-1', authorization: 'Bearer tenant-1.hunter2' })];
  expect(redactSecrets('no tenant-1, no tenant-1.hun', endpoints)).toBe('no [redacted], no [redacted]');
  expect(redactSecrets('no tenant-1.hunter2, no tenant-1', endpoints)).toBe('no [redacted], no [redacted]');
});

test('what only looks like the beginning of one stays', () => {
  const endpoints = [endpoint({ authorization: 'Bearer hunter2' })];
  expect(redactSecrets('it wants a Bearer', endpoints)).toBe('it wants a Bearer');
  expect(redactSecrets('no hunter', endpoints, '…')).toBe('no …');
  expect(redactSecrets('no hunters', endpoints)).toBe('no hunters');
});

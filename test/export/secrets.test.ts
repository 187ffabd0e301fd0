import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EndpointConfig } from '../../src/export/config.js';
import { redactSecrets } from '../../src/export/secrets.js';
import { redact } from '../../src/util/redact.js';

const endpoint = (headers: Record<string, string>): EndpointConfig => ({
  url: 'https://backend.example/v1/traces',
  encoding: 'json',
  compression: 'none',
  headers,
  tls: {},
  timeout_ms: 1_000,
});

const hidden = fc.string({ unit: fc.constantFrom(...'abc1'), minLength: 6, maxLength: 40 });

test('wherever a text is cut, no more than the first few characters of a token remain', () => {
  fc.assert(
    fc.property(hidden, fc.constantFrom('Bearer ', 'Basic ', ''), fc.nat(100), (token, scheme, cut) => {
      const said = `TOKEN: ${scheme}${token}; TOKEN: ${token}`.slice(0, cut);
      const shown = redactSecrets(said, [endpoint({ authorization: `${scheme}${token}` })]);
      expect(shown).not.toContain(token.slice(0, 6));
      expect(shown.slice(0, 7)).toBe('TOKEN: '.slice(0, cut));
    }),
  );
});

test('a cut secret that begins like another one is recognised', () => {
  const endpoints = [endpoint({ 'x-tenant': 'tenant-1', authorization: 'Bearer tenant-1.hunter2' })];
  expect(redactSecrets('no tenant-1, no tenant-1.hun', endpoints)).toBe('no [redacted], no [redacted]');
  expect(redactSecrets('no tenant-1.hunter2, no tenant-1', endpoints)).toBe('no [redacted], no [redacted]');
});

test('text that only looks like the beginning of a secret stays', () => {
  const endpoints = [endpoint({ authorization: 'Bearer hunter2' })];
  expect(redactSecrets('it wants a Bearer', endpoints)).toBe('it wants a Bearer');
  expect(redactSecrets('no hunter', endpoints, '…')).toBe('no …');
  expect(redactSecrets('no hunters', endpoints)).toBe('no hunters');
});

test('a header without a value hides nothing', () => {
  const endpoints = [endpoint({ 'x-tenant': '', authorization: 'Bearer ' })];
  expect(redactSecrets('no tenant', endpoints)).toBe('no tenant');
  expect(redact('no tenant', ['', 'tenant'], '…')).toBe('no …');
});

test('the replacement text is inserted literally, whatever characters it has', () => {
  expect(redactSecrets('no hunter2!', [endpoint({ 'x-key': 'hunter2' })], "$&$'")).toBe("no $&$'!");
});

const VALUE = `ab"c/d&e'f<g>+=\\h é`;

test.each([
  ['JSON', String.raw`ab\"c/d&e'f<g>+=\\h é`],
  ['JSON with escaped slashes', String.raw`ab\"c\/d&e'f<g>+=\\h é`],
  ['JSON in ASCII', String.raw`ab\"c/d&e'f<g>+=\\h \u00e9`],
  ['JSON without signs of HTML', String.raw`ab\"c/d\u0026e'f\u003cg\u003e+=\\h \u00e9`],
  ['JSON in JSON', String.raw`ab\\\"c/d&e'f<g>+=\\\\h é`],
  ['a URL', 'ab%22c%2Fd%26e%27f%3Cg%3E%2B%3D%5Ch%20%C3%A9'],
  ['a URL in small letters', 'ab%22c%2fd%26e%27f%3cg%3e%2b%3d%5ch%20%c3%a9'],
  ['a form', 'ab%22c%2Fd%26e%27f%3Cg%3E%2B%3D%5Ch+%C3%A9'],
  ['HTML by names', String.raw`ab&quot;c/d&amp;e'f&lt;g&gt;+=\h é`],
  ['HTML by names and numbers', String.raw`ab&quot;c/d&amp;e&#39;f&lt;g&gt;+=\h é`],
  ['HTML with slashes', String.raw`ab&quot;c&#x2F;d&amp;e&#x27;f&lt;g&gt;+=\h é`],
  ['HTML with numbers in decimal', String.raw`ab&#34;c/d&amp;e&#39;f&lt;g&gt;&#43;=\h é`],
])('a secret is redacted if it is repeated in %s, whole or cut', (_form, repeated) => {
  const endpoints = [endpoint({ 'x-key': VALUE })];
  expect(redactSecrets(`no <${repeated}> here`, endpoints)).toBe('no <[redacted]> here');
  expect(redactSecrets(`no ${repeated.slice(0, -1)}`, endpoints)).toBe('no [redacted]');
});

import { describe, expect, test } from 'vitest';
import { parseDestination, parseDestinations } from '../../src/export/parse.js';
import { signalUrl } from '../../src/export/url.js';

describe('one destination', () => {
  test.each([
    ['clawmetry', { preset: 'clawmetry' }],
    ['console', { preset: 'console' }],
    ['jaeger=http://jaeger:4318', { preset: 'jaeger', url: 'http://jaeger:4318' }],
    ['mine:otlp', { name: 'mine', preset: 'otlp' }],
    ['a.b-2:otlp=https://[::1]:4318/x/', { name: 'a.b-2', preset: 'otlp', url: 'https://[::1]:4318/x/' }],
  ])('is parsed from %s', (text, expected) => {
    expect(parseDestination(text)).toEqual(expected);
  });

  test.each([
    ['', /no preset/],
    ['grafna', /"grafna" is not a preset.*grafana/],
    ['http://127.0.0.1:4318', /no preset.*PRESET=URL/],
    ['otlp=', /not an http/],
    ['otlp=127.0.0.1:4318', /not an http/],
    ['otlp=ftp://host', /not an http/],
    ['otlp=http://host/?a=b', /query/],
    ['otlp=http://host/#there', /fragment/],
    ['console=http://host', /no URL/],
    [':otlp', /name/],
    ['my name:otlp', /name/],
  ])('%j is an error that says what to do', (text, error) => {
    expect(parseDestination(text)).toEqual({ error: expect.stringMatching(error) });
  });

  test.each([
    'otlp=http://user:hunter2@host',
    'otlp=http://hunter2@host',
    'http://user:hunter2@host',
    'hunter2@x:otlp=http://host',
    'otlp=hunter2',
    'otlp=http://host?token=hunter2',
  ])('no error repeats what may be a secret: %s', (text) => {
    const parsed = parseDestination(text);
    expect(parsed).toHaveProperty('error');
    expect(JSON.stringify(parsed)).not.toContain('hunter2');
  });
});

describe('the names of several destinations', () => {
  test('are the presets, numbered if a name is taken', () => {
    const parsed = parseDestinations(['otlp', 'otlp-2:jaeger', 'otlp', 'otlp=http://b', 'clawmetry']);
    expect(parsed).toEqual({
      options: [
        { name: 'otlp', preset: 'otlp' },
        { name: 'otlp-2', preset: 'jaeger' },
        { name: 'otlp-3', preset: 'otlp' },
        { name: 'otlp-4', preset: 'otlp', url: 'http://b' },
        { name: 'clawmetry', preset: 'clawmetry' },
      ],
    });
  });

  test('must be unique', () => {
    expect(parseDestinations(['x:otlp', 'x:jaeger'])).toEqual({
      error: expect.stringContaining('x: two destinations'),
    });
  });

  test('one invalid destination makes the whole list an error', () => {
    expect(parseDestinations(['otlp', 'nothing'])).toEqual({ error: expect.stringContaining('"nothing"') });
  });
});

test.each([
  ['http://host:4318', 'http://host:4318/v1/traces'],
  ['http://host:4318/', 'http://host:4318/v1/traces'],
  ['http://host/api/v1/otlp//', 'http://host/api/v1/otlp/v1/traces'],
])('for the base URL %s the traces go to %s', (base, url) => {
  expect(signalUrl(base, 'traces')).toBe(url);
});

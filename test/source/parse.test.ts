import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isLineSource } from '../../src/source/index.js';
import { parseSourceName } from '../../src/source/parse.js';

describe('parseSourceName', () => {
  test.each([
    ['stdin', { kind: 'stdin' }],
    ['file:events.ndjson', { kind: 'file', path: 'events.ndjson' }],
    ['file:a:b', { kind: 'file', path: 'a:b' }],
    ['unix:/run/agent.sock', { kind: 'socket', address: { path: '/run/agent.sock' } }],
    ['tcp:example.org:9000', { kind: 'socket', address: { host: 'example.org', port: 9000 } }],
    ['tcp:[::1]:9000', { kind: 'socket', address: { host: '::1', port: 9000 } }],
    ['tcp:[fe80::1%eth0]:9000', { kind: 'socket', address: { host: 'fe80::1%eth0', port: 9000 } }],
    ['listen:unix:a.sock', { kind: 'listen', address: { path: 'a.sock' } }],
    ['listen:tcp:9000', { kind: 'listen', address: { host: '127.0.0.1', port: 9000 } }],
    ['listen:tcp::9000', { kind: 'listen', address: { host: '127.0.0.1', port: 9000 } }],
    ['listen:tcp:0', { kind: 'listen', address: { host: '127.0.0.1', port: 0 } }],
    ['listen:tcp:0.0.0.0:9000', { kind: 'listen', address: { host: '0.0.0.0', port: 9000 } }],
    ['listen:tcp:[::]:9000', { kind: 'listen', address: { host: '::', port: 9000 } }],
    ['ws://127.0.0.1:18789', { kind: 'gateway', url: 'ws://127.0.0.1:18789' }],
    ['transcripts:/var/openclaw', { kind: 'transcripts', directory: '/var/openclaw' }],
    ['otlp:127.0.0.1:4319', { kind: 'otlp', address: { host: '127.0.0.1', port: 4319 } }],
  ])('parses %s', (text, expected) => {
    expect(parseSourceName(text)).toEqual({ name: text, ...expected });
  });

  test.each([
    ['file:~/events.ndjson', { path: join(homedir(), 'events.ndjson') }],
    ['unix:~/a.sock', { address: { path: join(homedir(), 'a.sock') } }],
    ['listen:unix:~/a.sock', { address: { path: join(homedir(), 'a.sock') } }],
    ['transcripts:~/.openclaw', { directory: join(homedir(), '.openclaw') }],
    ['transcripts:~', { directory: homedir() }],
    ['file:~other/a', { path: '~other/a' }],
    ['file:a/~/b', { path: 'a/~/b' }],
  ])('a home directory that the shell has left as it was: %s', (text, expected) => {
    expect(parseSourceName(text)).toMatchObject({ name: text, ...expected });
  });

  test.each([
    ['', /unknown source "": use stdin, file:PATH/],
    ['events.ndjson', /unknown source "events.ndjson"/],
    ['file:', /write file:PATH/],
    ['transcripts:', /write transcripts:DIR/],
    ['unix:', /write unix:PATH/],
    ['listen:unix:', /write listen:unix:PATH/],
    [`unix:/${'x'.repeat(200)}`, /the socket path is longer than \d+ bytes/],
    [`listen:unix:/${'x'.repeat(99)}/s`, /the path of the socket's directory is longer than \d+ bytes/],
    ['tcp:9000', /write tcp:HOST:PORT/],
    ['tcp::9000', /write tcp:HOST:PORT/],
    ['tcp:localhost', /write tcp:HOST:PORT/],
    ['tcp:localhost:0', /port up to 65535/],
    ['tcp:localhost:65536', /port up to 65535/],
    ['tcp:::1:9000', /an IPv6 host in brackets/],
    ['listen:tcp:', /write listen:tcp:HOST:PORT/],
    ['otlp:', /write otlp:HOST:PORT/],
    ['ws://', /write ws:\/\/HOST:PORT/],
    ['ws://me:pw@127.0.0.1:18789', /remove it, and set OPENCLAW_GATEWAY_TOKEN/],
    ['ws://:pw@127.0.0.1:18789', /remove it, and set OPENCLAW_GATEWAY_TOKEN/],
    ['ws://127.0.0.1:18789#main', /remove the # and what follows it/],
  ])('rejects "%s"', (text, error) => {
    expect(parseSourceName(text)).toEqual({ error: expect.stringMatching(error) });
  });

  test('puts no credentials into a name or an error', () => {
    const url = 'wss://example.org/path?token=s3cret';
    expect(parseSourceName(url)).toEqual({ name: 'wss://example.org/path', kind: 'gateway', url });
    for (const text of [
      'ws://user:s3cret@example.org',
      'wss://s3cret@example.org',
      'wss://user:s3cret@:::/',
      'https://user:s3cret@example.org',
      'tcp://user:s3cret@example.org:1',
      'tcp:user:s3cret@example.org:1',
      'listen:tcp://user:s3cret@example.org:1',
      'otlp://user:s3cret@example.org:1',
    ]) {
      const parsed = parseSourceName(text);
      expect(parsed).toHaveProperty('error');
      expect(JSON.stringify(parsed)).not.toContain('s3cret');
    }
  });

  test('gives a line source for every name except those of gateways', () => {
    const available = [
      'stdin',
      'file:a',
      'unix:a',
      'tcp:a:1',
      'listen:unix:a',
      'listen:tcp:1',
      'transcripts:a',
      'otlp:1',
    ];
    const others = ['ws://a', 'wss://a'];
    const verdicts = [...available, ...others].map((text) => {
      const parsed = parseSourceName(text);
      return 'kind' in parsed && isLineSource(parsed);
    });
    expect(verdicts).toEqual([...available.map(() => true), ...others.map(() => false)]);
  });
});

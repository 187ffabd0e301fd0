/**
 * Parses the value of a `--from`. Every form is recognised here, including those that another part of the bridge opens; an
 * error names the form that would be correct.
 */
import { dirname } from 'node:path';
import { fromHome } from '../util/home.js';
import type { ConnectAddress } from './socket/connect.js';

export const LOOPBACK = '127.0.0.1';

/** The system's limit for a socket path: longer ones are silently cut or refused, depending on the system. */
const MAX_SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/** The name of a listening socket before it is linked to its place, in a directory beside that: see `listen.ts`. */
export const SOCKET_NAME = 's';
const PRIVATE_BYTES = '/XXXXXX/'.length + SOCKET_NAME.length;

/** A parsed `--from`. `name` is its name in logs: as the user wrote it, without credentials. */
export type ParsedSource = { name: string } & (
  | { kind: 'stdin' }
  | { kind: 'file'; path: string }
  | { kind: 'socket'; address: ConnectAddress }
  | { kind: 'listen'; address: ConnectAddress }
  | { kind: 'gateway'; url: string }
  | { kind: 'transcripts'; directory: string }
  | { kind: 'otlp'; address: { host: string; port: number } }
);

/** What is wrong with a name, and what would be correct. */
export interface ParseFailure {
  error: string;
}

const FORMS =
  'stdin, file:PATH, unix:PATH, tcp:HOST:PORT, listen:unix:PATH, listen:tcp:HOST:PORT, ws://HOST:PORT, wss://HOST, ' +
  'transcripts:DIR or otlp:HOST:PORT';

/** Parses the value of one `--from`. */
export function parseSourceName(text: string): ParsedSource | ParseFailure {
  if (text === 'stdin') return { name: text, kind: 'stdin' };
  for (const [prefix, parse] of PARSERS) {
    if (text.startsWith(prefix)) return parse(text, text.slice(prefix.length));
  }
  // Only its first part is repeated: the rest may be a URL with a token in it.
  const [kind] = text.split(':', 1);
  return { error: `unknown source "${kind}": use ${FORMS}` };
}

type Parser = (name: string, rest: string) => ParsedSource | ParseFailure;

const PARSERS: readonly (readonly [prefix: string, parse: Parser])[] = [
  [
    'file:',
    (name, path) => (path === '' ? missing(name, 'file:PATH') : { name, kind: 'file', path: fromHome(path) }),
  ],
  ['unix:', (name, path) => withAddress(name, 'socket', parseSocketPath(name, fromHome(path)))],
  ['tcp:', (name, rest) => withAddress(name, 'socket', parseHostPort(name, rest, undefined))],
  ['listen:unix:', (name, path) => withAddress(name, 'listen', parseListenPath(name, fromHome(path)))],
  ['listen:tcp:', (name, rest) => withAddress(name, 'listen', parseHostPort(name, rest, LOOPBACK))],
  ['ws://', parseGateway],
  ['wss://', parseGateway],
  [
    'transcripts:',
    (name, directory) =>
      directory === ''
        ? missing(name, 'transcripts:DIR')
        : { name, kind: 'transcripts', directory: fromHome(directory) },
  ],
  [
    'otlp:',
    (name, rest) => {
      const address = parseHostPort(name, rest, LOOPBACK);
      return 'error' in address ? address : { name, kind: 'otlp', address };
    },
  ],
];

function missing(name: string, form: string): ParseFailure {
  return { error: `"${name}" is incomplete: write ${form}` };
}

function withAddress(
  name: string,
  kind: 'socket' | 'listen',
  address: ConnectAddress | ParseFailure,
): ParsedSource | ParseFailure {
  return 'error' in address ? address : { name, kind, address };
}

function parseSocketPath(name: string, path: string): ConnectAddress | ParseFailure {
  if (path === '') return missing(name, `${name}PATH`);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return { path };
  return {
    error: `"${name}": the socket path is longer than ${MAX_SOCKET_PATH_BYTES} bytes; use a shorter one`,
  };
}

function parseListenPath(name: string, path: string): ConnectAddress | ParseFailure {
  const max_bytes = MAX_SOCKET_PATH_BYTES - PRIVATE_BYTES;
  if (Buffer.byteLength(dirname(path)) <= max_bytes) return parseSocketPath(name, path);
  return {
    error: `"${name}": the path of the socket's directory is longer than ${max_bytes} bytes; use a shorter one`,
  };
}

/**
 * `HOST:PORT`, `[IPV6]:PORT`, and, for addresses to listen on, which have a default host, `:PORT` and `PORT`. Port 0 lets the
 * system choose, so it is only valid for listening.
 */
function parseHostPort(
  name: string,
  text: string,
  default_host: string | undefined,
): { host: string; port: number } | ParseFailure {
  const match = /^(?:(?:\[([\w:.%]+)\]|([^:[\]\s]*)):)?(\d{1,5})$/.exec(text);
  const host = match?.[1] || match?.[2] || default_host;
  const port = Number(match?.[3] ?? Number.NaN);
  const port_min = default_host === undefined ? 1 : 0;
  if (host !== undefined && port >= port_min && port <= 65535) return { host, port };
  const form = `${name.slice(0, name.length - text.length)}HOST:PORT`;
  // What looks like a URL may have a password in it.
  const shown = /@|\/\//.test(text) ? 'a source' : `"${name}"`;
  return {
    error: `invalid address in ${shown}: write ${form}, with a port up to 65535 and an IPv6 host in brackets`,
  };
}

const GATEWAY_CREDENTIALS =
  'the gateway URL contains a user name or a password: remove it, and set OPENCLAW_GATEWAY_TOKEN or ' +
  'OPENCLAW_GATEWAY_PASSWORD (or gateway.token or gateway.password in the configuration file)';

function parseGateway(text: string): ParsedSource | ParseFailure {
  if (!URL.canParse(text)) {
    return { error: 'invalid gateway URL: write ws://HOST:PORT or wss://HOST' };
  }
  const url = new URL(text);
  // A WebSocket URL must not have a fragment.
  if (text.includes('#'))
    return { error: 'the gateway URL contains a fragment: remove the # and what follows it' };
  if (url.username !== '' || url.password !== '') return { error: GATEWAY_CREDENTIALS };
  const path = url.pathname === '/' ? '' : url.pathname;
  return { name: `${url.protocol}//${url.host}${path}`, kind: 'gateway', url: text };
}

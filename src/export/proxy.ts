/**
 * Finds the proxy for a backend, by the common variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in lower case first. A
 * backend at a loopback address is always reached directly. The user name and password in a proxy's URL are removed at once, so
 * the remaining URL may be shown.
 */
import { BlockList, isIP } from 'node:net';
import type { Variables } from '../util/variables.js';

/** A proxy that a backend is reached through. */
export interface ProxyServer {
  /** Without credentials. */
  url: string;
  /** The value of `proxy-authorization`. A secret. */
  authorization?: string;
  /** The variable that it comes from. */
  variable: string;
}

/** For messages: the proxy, and where it is set. */
export const nameProxy = ({ url, variable }: ProxyServer): string => `the proxy ${url} (${variable})`;

/** The proxy comes last: what a message begins with is its reason, by which the log tells new problems from known ones. */
export const throughProxy = (message: string, proxy: ProxyServer | undefined): string =>
  proxy === undefined ? message : `${message}, through ${nameProxy(proxy)}`;

/** The variable that is set, in lower or upper case; an empty one counts as not set. */
function find(name: string, env: Variables): { name: string; value: string } | undefined {
  for (const spelling of [name.toLowerCase(), name]) {
    const value = env[spelling]?.trim();
    if (value !== undefined && value !== '') return { name: spelling, value };
  }
  return undefined;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Removes brackets: `[::1]` → `::1` */
const bareHost = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();

const isLoopback = (host: string): boolean =>
  /(^|\.)localhost$/.test(host) || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** Whether a host is in a network such as `10.0.0.0/8`. */
function isInNetwork(host: string, network: string): boolean {
  const [address = '', bits = ''] = network.split('/');
  const family = isIP(host);
  if (family === 0 || family !== isIP(address) || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 6 ? 128 : 32)) return false;
  const type = family === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(address, Number(bits), type);
  return list.check(host, type);
}

/**
 * Whether an exception applies: `host`, `.host` or `*.host`, each with or without `:port`; an address, a network of addresses,
 * or `*`.
 */
function isMeant(url: URL, exception: string): boolean {
  const host = bareHost(url.hostname);
  if (exception === '*' || isInNetwork(host, exception)) return true;
  const [, only_port] = isIP(exception) === 6 ? [] : (/:(\d+)$/.exec(exception) ?? []);
  if (only_port !== undefined && only_port !== (url.port || DEFAULT_PORTS[url.protocol])) return false;
  const name = only_port === undefined ? exception : exception.slice(0, -only_port.length - 1);
  const wanted = bareHost(name).replace(/^\*?\./, '');
  return host === wanted || host.endsWith(`.${wanted}`);
}

const isExcepted = (url: URL, exceptions: string): boolean =>
  exceptions.split(/[\s,]+/).some((exception) => exception !== '' && isMeant(url, exception));

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
};

function parseProxy(value: string, variable: string): ProxyServer | { error: string } {
  // `proxy:3128` without a scheme is common.
  const text = /^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '')
    return { error: `the proxy in ${variable} is not an http:// or https:// URL; correct or unset it` };
  const [user, password] = [decoded(url.username), decoded(url.password)];
  if (user === undefined || password === undefined)
    return {
      error: `the user name or password in ${variable} is not percent-encoded correctly; write "%" as %25`,
    };
  const proxy = { url: url.origin, variable };
  if (user === '' && password === '') return proxy;
  return { ...proxy, authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

/** The proxy for this URL; undefined if none applies. */
export function proxyFor(endpoint_url: string, env: Variables): ProxyServer | { error: string } | undefined {
  const url = new URL(endpoint_url);
  const named = find(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY', env);
  if (named === undefined || isLoopback(bareHost(url.hostname))) return undefined;
  if (isExcepted(url, find('NO_PROXY', env)?.value ?? '')) return undefined;
  return parseProxy(named.value, named.name);
}

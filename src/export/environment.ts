/**
 * Reads the standard `OTEL_EXPORTER_OTLP_*` variables per signal; a signal's own variable overrides the general one. Values
 * that OpenTelemetry's exporters ignore silently (an unknown protocol, an invalid URL or timeout) are errors here; the rest is
 * read with their code.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { getStringFromEnv, parseKeyPairsIntoRecord } from '@opentelemetry/core';
import { getSharedConfigurationFromEnvironment } from '@opentelemetry/otlp-exporter-base/node-http';
import { SIGNALS, type Signal } from '../model/delivery.js';
import type { ConfigurationProblem } from './parse.js';
import { type Encoding, TEMPORALITIES, type Temporality } from './presets.js';
import { signalUrl, urlProblem } from './url.js';

/** The compression of requests, as in `OTEL_EXPORTER_OTLP_COMPRESSION`. */
export type Compression = 'none' | 'gzip';

/** Paths of PEM files. */
export interface TlsFiles {
  ca?: string | undefined;
  cert?: string | undefined;
  key?: string | undefined;
}

export interface SignalEnvironment {
  /** The whole URL, `/v1/<signal>` included. */
  url?: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** The variable that has the last word on a header: the signal's own if it is set. */
  headers_variable: string;
  encoding?: Encoding;
  compression?: Compression | undefined;
  timeout_ms?: number | undefined;
  tls: TlsFiles;
}

export interface Environment {
  signals: Record<Signal, SignalEnvironment>;
  temporality?: Temporality;
}

interface Variable {
  name: string;
  value: string;
}

const PREFIX = 'OTEL_EXPORTER_OTLP';
const TEMPORALITY_VARIABLE = `${PREFIX}_METRICS_TEMPORALITY_PREFERENCE`;

const ENCODING_OF_PROTOCOL: Readonly<Record<string, Encoding>> = {
  'http/json': 'json',
  'http/protobuf': 'protobuf',
};

const variable = (name: string): Variable | undefined => {
  const value = getStringFromEnv(name)?.trim();
  return value === undefined ? undefined : { name, value };
};

const ownVariable = (signal: Signal, setting: string): Variable | undefined =>
  variable(`${PREFIX}_${signal.toUpperCase()}_${setting}`);

const generalVariable = (setting: string): Variable | undefined => variable(`${PREFIX}_${setting}`);

const find = (signal: Signal, setting: string): Variable | undefined =>
  ownVariable(signal, setting) ?? generalVariable(setting);

/** Whether a variable names an endpoint. If so, preset `otlp` is the default destination. */
export const environmentNamesEndpoint = (): boolean =>
  SIGNALS.some((signal) => find(signal, 'ENDPOINT') !== undefined);

/** A signal's own endpoint is used unchanged; `/v1/<signal>` is added to the general one. */
function readUrl(signal: Signal): { url?: string } | ConfigurationProblem {
  const own = ownVariable(signal, 'ENDPOINT');
  const endpoint = own ?? generalVariable('ENDPOINT');
  if (endpoint === undefined) return {};
  const problem = urlProblem(endpoint.value);
  if (problem !== undefined) return { error: `${endpoint.name} ${problem}` };
  return { url: own === undefined ? signalUrl(endpoint.value, signal) : endpoint.value };
}

function readEncoding(signal: Signal): { encoding?: Encoding } | ConfigurationProblem {
  const protocol = find(signal, 'PROTOCOL');
  if (protocol === undefined) return {};
  const encoding = ENCODING_OF_PROTOCOL[protocol.value];
  if (encoding !== undefined) return { encoding };
  return { error: `${protocol.name}: this protocol is not supported; set it to http/protobuf or http/json` };
}

/** Headers that the transport sets for the connection and the body. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'keep-alive',
  // Comes from the URL of the proxy.
  'proxy-authorization',
  'transfer-encoding',
  'upgrade',
]);

/** Why these can't be sent as HTTP headers, without their values; `undefined` if they can. */
export function headersProblem(headers: Readonly<Record<string, string>>): string | undefined {
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name);
    } catch {
      return 'a header has a name that HTTP does not allow; correct it';
    }
    if (OWN_HEADERS.has(name.toLowerCase())) return `the bridge sets the header "${name}" itself; remove it`;
    try {
      validateHeaderValue(name, value);
    } catch {
      return `the value of header "${name}" contains characters that HTTP does not allow; correct it`;
    }
  }
  return undefined;
}

/** Lower-cases header names, which are case-insensitive, so that a later one replaces an earlier one. */
export const lowerCaseNames = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

/** Blank, or a name without a value, which an unset shell variable leaves. */
const NO_HEADER = /^\s*([^=\s]+\s*=\s*)?$/;

/** Whether a part can't be read. OpenTelemetry's parser would silently skip it, and a token with it. */
const isLost = (part: string): boolean =>
  !NO_HEADER.test(part) && Object.keys(parseKeyPairsIntoRecord(part)).length === 0;

function parseHeaders(
  given: Variable | undefined,
): { headers: Record<string, string> } | ConfigurationProblem {
  if (given === undefined) return { headers: {} };
  if (given.value.split(',').some(isLost))
    return {
      error: `${given.name}: can't be parsed; write NAME=VALUE,NAME=VALUE, with "," in a value as %2C and "%" as %25`,
    };
  const headers = lowerCaseNames(parseKeyPairsIntoRecord(given.value));
  const problem = headersProblem(headers);
  return problem === undefined ? { headers } : { error: `${given.name}: ${problem}` };
}

function readHeaders(
  signal: Signal,
): Pick<SignalEnvironment, 'headers' | 'headers_variable'> | ConfigurationProblem {
  const general = parseHeaders(generalVariable('HEADERS'));
  if ('error' in general) return general;
  const given = ownVariable(signal, 'HEADERS');
  const own = parseHeaders(given);
  if ('error' in own) return own;
  return {
    headers: { ...general.headers, ...own.headers },
    headers_variable: given?.name ?? `${PREFIX}_HEADERS`,
  };
}

function readRequest(
  signal: Signal,
): Pick<SignalEnvironment, 'timeout_ms' | 'compression'> | ConfigurationProblem {
  const timeout = find(signal, 'TIMEOUT');
  if (timeout !== undefined && !(Number(timeout.value) > 0))
    return {
      error: `${timeout.name}: this timeout can't be used; set it to a number of milliseconds above 0`,
    };
  const compression = find(signal, 'COMPRESSION');
  if (compression !== undefined && !['none', 'gzip'].includes(compression.value))
    return { error: `${compression.name}: this compression is not supported; set it to gzip or none` };
  const read = getSharedConfigurationFromEnvironment(signal.toUpperCase());
  return { timeout_ms: read.timeoutMillis, compression: read.compression };
}

function readSignal(signal: Signal): SignalEnvironment | ConfigurationProblem {
  const url = readUrl(signal);
  if ('error' in url) return url;
  const encoding = readEncoding(signal);
  if ('error' in encoding) return encoding;
  const headers = readHeaders(signal);
  if ('error' in headers) return headers;
  const request = readRequest(signal);
  if ('error' in request) return request;
  const tls = {
    ca: find(signal, 'CERTIFICATE')?.value,
    cert: find(signal, 'CLIENT_CERTIFICATE')?.value,
    key: find(signal, 'CLIENT_KEY')?.value,
  };
  return { ...url, ...encoding, ...headers, ...request, tls };
}

function readTemporality(): { temporality?: Temporality } | ConfigurationProblem {
  const preference = variable(TEMPORALITY_VARIABLE)?.value.toLowerCase();
  if (preference === undefined) return {};
  const temporality = TEMPORALITIES.find((known) => known === preference);
  if (temporality !== undefined) return { temporality };
  return {
    error: `${TEMPORALITY_VARIABLE}: this temporality is not supported; set it to one of ${TEMPORALITIES.join(', ')}`,
  };
}

/** Reads the environment at the time of the call. Returns the first problem, if there is one. */
export function readEnvironment(): Environment | ConfigurationProblem {
  const temporality = readTemporality();
  if ('error' in temporality) return temporality;
  const signals: Partial<Record<Signal, SignalEnvironment>> = {};
  for (const signal of SIGNALS) {
    const settings = readSignal(signal);
    if ('error' in settings) return settings;
    signals[signal] = settings;
  }
  return { signals: signals as Record<Signal, SignalEnvironment>, ...temporality };
}

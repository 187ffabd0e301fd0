/**
 * The destinations that `run` would send to: what each says to an empty export of each signal that it would get, in the
 * encoding that it would get it in.
 */
import { request } from 'undici';
import {
  type ConsoleConfig,
  type DestinationConfig,
  type EndpointConfig,
  type ExportOutcome,
  oneLine,
  probeEndpoint,
} from '../../export/index.js';
import type { Signal } from '../../model/delivery.js';
import type { Settings } from '../../settings.js';
import { chooseDestinations } from '../destinations.js';
import { type Check, type Level, ok, problem } from './check.js';

const PROBE_TIMEOUT_MS = 5_000;
const MAX_SHOWN = 200;

/** What one signal's probe found. */
interface Finding {
  level: Level;
  found: string;
  advice?: string;
}

type Config = DestinationConfig;

const ENCODING_NAMES = { json: 'JSON', protobuf: 'protobuf' } as const;

/** What a backend says is shown short, and without what it was given. */
type Answered = Extract<ExportOutcome, { kind: 'answered' }>;

function said(outcome: Answered, { headers }: EndpointConfig): string {
  let text = oneLine(new TextDecoder().decode(outcome.body));
  for (const [, secret = ''] of Object.values(headers).flatMap((value) => [...value.matchAll(/(\S+)/g)])) {
    if (secret.length > 3) text = text.replaceAll(secret, '…');
  }
  return text === '' ? `HTTP ${outcome.status}` : `HTTP ${outcome.status}: ${text.slice(0, MAX_SHOWN)}`;
}

/** The environment's headers go to every backend but ClawMetry. */
function credentialsAdvice({ preset, name }: Config, { headers }: EndpointConfig): string {
  const place =
    preset === 'clawmetry'
      ? `"headers" of destination ${name} in the configuration file`
      : `OTEL_EXPORTER_OTLP_HEADERS, or "headers" of destination ${name} in the configuration file`;
  if (headers.authorization !== undefined) return `correct the header authorization in ${place}`;
  const token = preset === 'clawmetry' ? "the OpenClaw gateway's token" : 'its token';
  return `give it ${token} as the header authorization (Bearer …) in ${place}`;
}

function describeStatus(
  outcome: Answered,
  signal: Signal,
  config: Config,
  endpoint: EndpointConfig,
): Finding {
  const { status } = outcome;
  const encoding = ENCODING_NAMES[endpoint.encoding];
  if (status >= 200 && status < 300) return { level: 'ok', found: `takes ${encoding}` };
  const answer = said(outcome, endpoint);
  const refused = (found: string, advice: string): Finding => ({ level: 'problem', found, advice });
  if (status === 401 || status === 403) {
    return refused(`does not let the bridge in (HTTP ${status})`, credentialsAdvice(config, endpoint));
  }
  if (status === 404 || status === 405) {
    const advice = signal === 'traces' ? 'check the URL' : `leave it out with "signals", or check the URL`;
    return { level: signal === 'traces' ? 'problem' : 'warning', found: `HTTP ${status}`, advice };
  }
  if (status === 415 || status === 501) {
    const other = endpoint.encoding === 'json' ? 'protobuf' : 'json';
    const advice = `set OTEL_EXPORTER_OTLP_PROTOCOL=http/${other}, or "encoding: ${other}" for it in the configuration file`;
    return refused(`does not take ${encoding} (HTTP ${status})`, advice);
  }
  if (status === 400 && /HTTPS/i.test(answer)) return refused(answer, 'write https:// in its URL');
  if (status >= 300 && status < 400) {
    return refused(`redirects (HTTP ${status})`, 'give the URL that it redirects to');
  }
  if (status === 429 || status >= 500) {
    return { level: 'warning', found: answer, advice: 'look at its log; the bridge would try again' };
  }
  return refused(answer, 'look at its log');
}

/** By what Node.js and OpenSSL say. */
const CONNECTION_ADVICE: readonly [RegExp, string, string][] = [
  [/ECONNREFUSED/, 'connection refused', 'start it, or check the address'],
  [/ENOTFOUND|EAI_AGAIN/, 'its host name is not found', 'check the address'],
  [/altname/i, 'TLS: its certificate is for another host name', 'use the name that the certificate is for'],
  [/expired/i, 'TLS: its certificate has expired', 'renew the certificate'],
  [
    /certificate|issuer/i,
    'TLS: its certificate is signed by nobody that this machine trusts',
    'name the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE, or as "tls: {ca: …}" in the configuration file',
  ],
  [/EPROTO|SSL|wrong version/i, 'it speaks no TLS', 'write http:// in its URL'],
];

function describeFailure({ reason, message }: Extract<ExportOutcome, { kind: 'failed' }>): Finding {
  if (reason === 'timeout')
    return { level: 'problem', found: message, advice: 'check the address and its load' };
  const known = CONNECTION_ADVICE.find(([pattern]) => pattern.test(message));
  const [, found = message, advice = 'check the address, and http:// or https://'] = known ?? [];
  return { level: 'problem', found, advice };
}

/** `traces`, `traces and logs`, `traces, metrics and logs` */
const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;

/** ClawMetry itself says whether it has its extra for protobuf, which the bridge has no use for. */
async function clawmetryNote(base: string): Promise<string> {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    const { statusCode, body } = await request(`${base}/api/otel-status`, { signal });
    if (statusCode !== 200) return '';
    const { protobuf } = (await body.json()) as { protobuf?: unknown };
    return protobuf === true
      ? '; with its [otel] extra, it would take protobuf too'
      : '; without its [otel] extra, which the bridge does not need';
  } catch {
    return '';
  }
}

async function noteOf({ preset }: Config, base: string): Promise<string> {
  if (preset === 'jaeger') return '; metrics and logs, which Jaeger does not take, are not sent';
  return preset === 'clawmetry' ? clawmetryNote(base) : '';
}

interface Probed extends Finding {
  signal: Signal;
  /** The address without the signal's own part. */
  base: string;
}

async function probe(signal: Signal, endpoint: EndpointConfig, config: Config): Promise<Probed> {
  const outcome = await probeEndpoint(endpoint, signal, PROBE_TIMEOUT_MS);
  const finding =
    outcome.kind === 'failed' ? describeFailure(outcome) : describeStatus(outcome, signal, config, endpoint);
  return { signal, base: endpoint.url.replace(`/v1/${signal}`, ''), ...finding };
}

const isAlike = (a: Probed, b: Probed): boolean =>
  a.base === b.base && a.found === b.found && a.advice === b.advice;

/** Signals that found the same share a line. */
async function checkDestination(config: Config): Promise<Check[]> {
  const endpoints = Object.entries(config.endpoints) as [Signal, EndpointConfig][];
  const probed = await Promise.all(endpoints.map(([signal, endpoint]) => probe(signal, endpoint, config)));
  const firsts = probed.filter((each, index) => probed.findIndex((other) => isAlike(each, other)) === index);
  const checks = firsts.map(async (first): Promise<Check> => {
    const signals = probed.filter((each) => isAlike(each, first)).map(({ signal }) => signal);
    const note = first.level === 'ok' ? await noteOf(config, first.base) : '';
    const found = `${first.base}, ${list(signals)}: ${first.found}${note}`;
    const { level, advice } = first;
    return { check: `to ${config.name}`, level, found, ...(advice === undefined ? {} : { advice }) };
  });
  return Promise.all(checks);
}

async function checkEach(config: DestinationConfig | ConsoleConfig): Promise<Check[]> {
  return config.preset === 'console' ? [ok(`to ${config.name}`, 'this terminal')] : checkDestination(config);
}

export async function checkDestinations(settings: Settings): Promise<Check[]> {
  const chosen = await chooseDestinations(settings);
  if ('error' in chosen) return [problem('destinations', chosen.error)];
  const found =
    chosen.found === undefined ? [] : [ok('destinations', `${chosen.found.to}: ${chosen.found.why}`)];
  return [...found, ...(await Promise.all(chosen.configs.map(checkEach))).flat()];
}

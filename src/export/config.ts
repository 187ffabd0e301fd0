/**
 * Resolves the settings of a destination: from its option, then the environment, then the configuration file, then its preset.
 * The result is complete and checked, so no other code asks where a setting came from.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { SIGNALS, type Signal } from '../model/delivery.js';
import { path, strictSettings } from '../util/schema.js';
import { MAX_TIMER_MS } from '../util/within.js';
import { type Bearer, bearerSchema, openBearer } from './bearer.js';
import {
  type Compression,
  type Environment,
  headersProblem,
  lowerCaseNames,
  readEnvironment,
  type SignalEnvironment,
  type TlsFiles,
} from './environment.js';
import {
  type ConfigurationProblem,
  DESTINATION_NAME,
  type DestinationOption,
  nameDestinations,
} from './parse.js';
import {
  ENCODINGS,
  type Encoding,
  OPEN_SPANS,
  type OpenSpans,
  OTLP_PRESET_NAMES,
  type OtlpPresetName,
  PRESET_NAMES,
  PRESETS,
  type Preset,
  TEMPORALITIES,
  type Temporality,
} from './presets.js';
import { PROFILE_NAMES, type ProfileName } from './profiles.js';
import { type ProxyServer, proxyFor } from './proxy.js';
import { signalUrl, urlProblem } from './url.js';

export const destinationName = z
  .string()
  .regex(
    DESTINATION_NAME,
    'must be 1 to 64 letters, digits, ".", "_" or "-", and start with a letter or digit',
  );

const url = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== undefined) context.addIssue(problem);
});

const headers = z.record(z.string(), z.string()).superRefine((record, context) => {
  const problem = headersProblem(record);
  if (problem !== undefined) context.addIssue(problem);
});

const otlpSettings = strictSettings({
  name: destinationName.optional(),
  preset: z.enum(OTLP_PRESET_NAMES),
  url: url.optional(),
  signals: z.array(z.enum(SIGNALS)).min(1).optional(),
  encoding: z.enum(ENCODINGS).optional(),
  compression: z.enum(['none', 'gzip']).optional(),
  headers: headers.optional(),
  bearer: bearerSchema.optional(),
  tls: strictSettings({ ca: path.optional(), cert: path.optional(), key: path.optional() }).optional(),
  temporality: z.enum(TEMPORALITIES).optional(),
  profile: z.enum(PROFILE_NAMES).optional(),
  open_spans: z.enum(OPEN_SPANS).optional(),
  timeout_ms: z.int().positive().max(MAX_TIMER_MS).optional(),
});

const otlpDestination = otlpSettings.refine(
  ({ bearer, headers = {} }) => bearer === undefined || lowerCaseNames(headers).authorization === undefined,
  {
    path: ['bearer'],
    message: 'sets the header authorization, which "headers" sets too; remove one of them',
  },
);

/** One destination in the configuration file; an unknown key is an error. */
export const destinationSchema = z.discriminatedUnion(
  'preset',
  [otlpDestination, strictSettings({ name: destinationName.optional(), preset: z.literal('console') })],
  {
    error: ({ code }) =>
      code === 'invalid_union' ? `must be a preset, one of ${PRESET_NAMES.join(', ')}` : undefined,
  },
);

/** A destination as in the configuration file's `to`: the name of a preset, and the settings that differ from it. */
export type DestinationRecord = z.infer<typeof destinationSchema>;
type OtlpRecord = z.infer<typeof otlpDestination>;
/** With the token instead of its location. */
type OpenedRecord = Omit<OtlpRecord, 'bearer'> & { bearer: Bearer | undefined };

/** PEM data for TLS connections; the system's defaults are used for what is absent. */
export interface TlsMaterial {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/** The settings for sending one signal. */
export interface EndpointConfig {
  /** The full URL, without credentials. */
  url: string;
  encoding: Encoding;
  compression: Compression;
  /** Secret: never to be shown. Names in lower case. */
  headers: Record<string, string>;
  /** Which of them the environment sets, and the variable for it; absent if its headers do not go to this endpoint. */
  environment_headers?: { variable: string; names: string[] };
  /** Sent as the header `authorization`, which `headers` then does not contain. */
  bearer?: Bearer;
  /** The proxy in between; absent if the backend is reached directly. */
  proxy?: ProxyServer;
  tls: TlsMaterial;
  timeout_ms: number;
}

/** A destination that sends OTLP; complete and checked. */
export interface DestinationConfig {
  name: string;
  preset: OtlpPresetName;
  /** The signals that the destination takes. */
  endpoints: Partial<Record<Signal, EndpointConfig>>;
  temporality: Temporality;
  profile: ProfileName;
  open_spans: OpenSpans;
}

/** A destination that prints to the terminal. */
export interface ConsoleConfig {
  name: string;
  preset: 'console';
}

/**
 * Resolves the destinations of a start. If there are options, these are the destinations, and a record of the file adds its
 * settings to the option with the same name and preset; otherwise the file's records are. Reads the environment and the TLS
 * files at the time of the call.
 */
export function resolveDestinations(
  options: readonly DestinationOption[],
  records: readonly DestinationRecord[] = [],
): { destinations: (DestinationConfig | ConsoleConfig)[] } | ConfigurationProblem {
  const environment = readEnvironment();
  if ('error' in environment) return environment;
  const named = nameDestinations(records);
  if ('error' in named) return named;
  const chosen: DestinationOption[] =
    options.length > 0 ? [...options] : named.destinations.map(({ name, preset }) => ({ name, preset }));
  const destinations: (DestinationConfig | ConsoleConfig)[] = [];
  for (const option of chosen) {
    const record = named.destinations.find(
      (candidate) => candidate.name === option.name && candidate.preset === option.preset,
    );
    const config = resolveDestination(option, environment, record);
    if ('error' in config) return config;
    destinations.push(config);
  }
  if (destinations.filter(({ preset }) => preset === 'console').length > 1)
    return { error: 'console is given twice; remove one' };
  return { destinations };
}

function resolveDestination(
  option: DestinationOption,
  environment: Environment,
  record: DestinationRecord | undefined,
): DestinationConfig | ConsoleConfig | ConfigurationProblem {
  const { name, preset: preset_name } = option;
  if (preset_name === 'console') return { name, preset: preset_name };
  const file: OtlpRecord =
    record === undefined || record.preset === 'console' ? { preset: preset_name } : record;
  const preset = PRESETS[preset_name];
  const bearer = file.bearer && openBearer(file.bearer, process.env);
  if (bearer !== undefined && 'error' in bearer) return { error: `${name}: ${bearer.error}` };
  const endpoints: Partial<Record<Signal, EndpointConfig>> = {};
  for (const signal of file.signals ?? preset.signals) {
    const endpoint = resolveEndpoint(signal, option, environment, { ...file, bearer });
    if ('error' in endpoint) return { error: `${name}: ${endpoint.error}` };
    endpoints[signal] = endpoint;
  }
  const preference = preset.temporality_fixed ? undefined : environment.temporality;
  return {
    name,
    preset: preset_name,
    endpoints,
    temporality: preference ?? file.temporality ?? preset.temporality,
    profile: file.profile ?? preset.profile,
    open_spans: file.open_spans ?? preset.open_spans,
  };
}

function resolveEndpoint(
  signal: Signal,
  option: DestinationOption,
  { signals }: Environment,
  file: OpenedRecord,
): EndpointConfig | ConfigurationProblem {
  const preset = PRESETS[file.preset];
  const environment = signals[signal];
  const endpoint_url = resolveUrl(signal, option, environment, file);
  const named = environment.url === undefined ? urlsOf(signals) : [environment.url];
  const takes_headers = takesHeaders(file.preset, endpoint_url, named);
  const env_headers = takes_headers ? environment.headers : {};
  const tls = readTls(endpoint_url, {
    ca: environment.tls.ca ?? file.tls?.ca,
    cert: environment.tls.cert ?? file.tls?.cert,
    key: environment.tls.key ?? file.tls?.key,
  });
  if ('error' in tls) return tls;
  const proxy = proxyFor(endpoint_url, process.env);
  if (proxy !== undefined && 'error' in proxy) return proxy;
  // The environment's header overrides the file's token.
  const bearer = env_headers.authorization === undefined ? file.bearer : undefined;
  return {
    url: endpoint_url,
    encoding: preferredEncoding(preset, environment) ?? file.encoding ?? preset.encoding,
    compression: environment.compression ?? file.compression ?? 'none',
    headers: { ...lowerCaseNames(file.headers ?? {}), ...env_headers },
    ...(takes_headers
      ? { environment_headers: { variable: environment.headers_variable, names: Object.keys(env_headers) } }
      : {}),
    ...(bearer === undefined ? {} : { bearer }),
    ...(proxy === undefined ? {} : { proxy }),
    tls,
    timeout_ms: Math.min(environment.timeout_ms ?? file.timeout_ms ?? preset.timeout_ms, MAX_TIMER_MS),
  };
}

/** The environment's endpoint is for preset `otlp` only; the other presets are backends with their own addresses. */
function resolveUrl(
  signal: Signal,
  option: DestinationOption,
  environment: SignalEnvironment,
  file: Pick<OtlpRecord, 'preset' | 'url'>,
): string {
  if (option.url !== undefined) return signalUrl(option.url, signal);
  if (file.preset === 'otlp' && environment.url !== undefined) return environment.url;
  return signalUrl(file.url ?? PRESETS[file.preset].url, signal);
}

/** A general preference for protobuf does not apply to a backend that accepts only JSON, which every backend accepts. */
const preferredEncoding = (preset: Preset, { encoding }: SignalEnvironment): Encoding | undefined =>
  preset.encoding_fixed && encoding !== preset.encoding ? undefined : encoding;

/** The endpoints that the environment names, for any signal. */
const urlsOf = (signals: Environment['signals']): string[] =>
  SIGNALS.map((signal) => signals[signal].url).filter((each) => each !== undefined);

/**
 * Whether the environment's headers go to this endpoint: they carry a token for one backend. If the environment names an
 * endpoint, even only for another signal, they go to that server alone. Otherwise they go to each destination except ClawMetry,
 * whose own token is in the configuration file.
 */
function takesHeaders(preset: OtlpPresetName, endpoint_url: string, named: readonly string[]): boolean {
  if (named.length === 0) return preset !== 'clawmetry';
  return named.some((each) => new URL(each).origin === new URL(endpoint_url).origin);
}

const TLS_FILES = [
  { kind: 'ca', purpose: 'root certificate', check: (pem: Buffer) => new X509Certificate(pem) },
  { kind: 'cert', purpose: 'client certificate', check: (pem: Buffer) => new X509Certificate(pem) },
  { kind: 'key', purpose: 'client key', check: (pem: Buffer) => createPrivateKey(pem) },
] as const;

function readTls(endpoint_url: string, files: TlsFiles): TlsMaterial | ConfigurationProblem {
  const material: TlsMaterial = {};
  if (new URL(endpoint_url).protocol !== 'https:') return material;
  for (const { kind, purpose, check } of TLS_FILES) {
    const file = files[kind];
    if (file === undefined) continue;
    try {
      material[kind] = readFileSync(file);
      check(material[kind]);
    } catch {
      return { error: `can't read the ${purpose} file ${file} as PEM; check its path and content` };
    }
  }
  // One without the other is never presented to a backend, which would then refuse every connection.
  if ((material.cert === undefined) !== (material.key === undefined))
    return {
      error: `${files.cert ?? files.key}: a client certificate and its client key must be set together; set both`,
    };
  try {
    createSecureContext(material);
  } catch {
    return {
      error: `the client key ${files.key} does not match the client certificate ${files.cert}; check both files`,
    };
  }
  return material;
}

/**
 * The sources of a start: those that the user names, or else the gateway on this machine.
 */
import type { Positions, Source } from '../model/source.js';
import {
  createGatewaySource,
  createSource,
  GATEWAY_BACKOFF,
  type GatewayPosition,
  holdsTranscripts,
  type ParsedSource,
  type ParseFailure,
  parseSourceName,
  withFallback,
} from '../source/index.js';
import { findGatewayUrl, gatewayAccess, isLocal } from './gateway.js';
import { type GatewaySecrets, openclawDirectory } from './openclaw.js';
import type { NamesOrigin } from './origin.js';
import type { StartSettings } from './settings.js';

export interface SourcesOptions {
  /** Where the sources are named. */
  origin: NamesOrigin;
  /** Where the previous process stopped, by the source's name. What a source takes over from another one is added. */
  positions: Record<string, Positions>;
}

/** Each named source, or what is wrong with its name; and a description of where they are named. */
export interface NamedSources {
  named: (ParsedSource | ParseFailure)[];
  origin: string;
}

const isGatewayAddress = (name: string): boolean => /^wss?:/.test(name);

/** The gateway to follow if no source is named. */
function nameDefault(settings: Pick<StartSettings, 'gateway'>): NamedSources {
  const { value, origin } = findGatewayUrl(settings, process.env);
  const source = parseSourceName(value);
  if ('error' in source && isGatewayAddress(value))
    return { named: [{ error: `${origin}: ${source.error}` }], origin };
  const error = `${origin}: not a gateway address; use ws://HOST:PORT or wss://HOST:PORT`;
  return { named: ['error' in source || source.kind !== 'gateway' ? { error } : source], origin };
}

/** The sources that a start would have. */
export function nameSources(
  settings: Pick<StartSettings, 'from' | 'gateway'>,
  origin: NamesOrigin,
): NamedSources {
  if (settings.from.length === 0) return nameDefault(settings);
  const place = origin === '--from' ? origin : `${origin}: from`;
  const names = new Set<string>();
  const named = settings.from.map((text) => {
    const source = parseSourceName(text);
    if ('error' in source) return { error: `${place}: ${source.error}` };
    if (names.has(source.name)) return { error: `${place}: ${source.name} is given twice; remove one` };
    names.add(source.name);
    return source;
  });
  return { named, origin };
}

/** A source with its own settings, where these are not in `Settings`. */
export type WantedSource = ParsedSource & {
  /** The secrets of a gateway. */
  secrets?: GatewaySecrets;
};

type Named<K extends ParsedSource['kind']> = Extract<WantedSource, { kind: K }>;

const lineOptions = ({ limits, from_start }: StartSettings, resume: Positions) =>
  ({ mode: 'follow', max_line_bytes: limits.line_bytes, from_start, resume }) as const;

function createGateway(source: Named<'gateway'>, settings: StartSettings, resume: Positions): Source {
  const { secrets } = source;
  const access = {
    ...gatewayAccess(source, settings, process.env),
    ...(secrets === undefined ? {} : { secrets: () => secrets }),
  };
  const position = resume[source.name] as GatewayPosition | undefined;
  return createGatewaySource({ access, resume: position, backoff: GATEWAY_BACKOFF });
}

const isSameMachine = (url: string, other_url: string): boolean =>
  new URL(url).hostname === new URL(other_url).hostname || (isLocal(url) && isLocal(other_url));

/**
 * A gateway's position belongs to its address. If the only gateway of this start has none, but another one on its machine was
 * followed before, it is taken for the same gateway on another port: it continues from there, unless it then turns out to
 * belong to another OpenClaw.
 */
function adoptPosition(wanted: ParsedSource[], positions: SourcesOptions['positions']): void {
  const [gateway, other] = wanted.filter((source) => source.kind === 'gateway');
  if (gateway === undefined || other !== undefined || positions[gateway.name]?.[gateway.name] !== undefined)
    return;
  const followed = Object.keys(positions).filter(
    (name) => isGatewayAddress(name) && isSameMachine(name, gateway.url),
  );
  const left = followed.flatMap((name) => (positions[name]?.[name] as GatewayPosition | undefined) ?? []);
  const [latest] = left.sort((a, b) => b.seen_ms - a.seen_ms);
  if (latest !== undefined) positions[gateway.name] = { ...positions[gateway.name], [gateway.name]: latest };
}

interface Transcripts {
  directory: string;
  isThere(): Promise<boolean>;
}

/**
 * An OpenClaw that writes transcripts records the same in them as it sends over its gateway, so only one of the two is read at
 * a time.
 */
function withTranscripts(
  source: Named<'gateway'>,
  { directory, isThere }: Transcripts,
  settings: StartSettings,
  resume: Positions,
): Source {
  const name = `transcripts:${directory}`;
  const { [source.name]: _, ...others } = resume;
  /** When the transcripts were first wanted; they may not exist until later. */
  let since_ms: number | undefined;
  return withFallback({
    preferred: createGateway(source, settings, resume),
    async createFallback() {
      since_ms ??= Date.now();
      if (!(await isThere())) return undefined;
      return createSource(
        { kind: 'transcripts', name, directory },
        { ...lineOptions(settings, others), since_ms },
      );
    },
    open_streams: Object.keys(others),
    messages: {
      begins: "the gateway is not available: following OpenClaw's transcripts until it is",
      ends: `the gateway is available: following it from now on instead of the transcripts below ${directory}`,
    },
  });
}

/**
 * The gateway on this machine may belong to an OpenClaw that is too old for it, or may not be running; its transcripts are on
 * this machine too.
 */
function createDefault(source: Named<'gateway'>, settings: StartSettings, resume: Positions): Source {
  const directory = openclawDirectory(process.env);
  const transcripts = { directory, isThere: () => holdsTranscripts(directory) };
  return isLocal(source.url)
    ? withTranscripts(source, transcripts, settings, resume)
    : createGateway(source, settings, resume);
}

/** Creates the sources without opening them. */
export function createSources(
  settings: StartSettings,
  options: SourcesOptions,
): { sources: Source[] } | { error: string } {
  const parsed: ParsedSource[] = [];
  for (const source of nameSources(settings, options.origin).named) {
    if ('error' in source) return source;
    parsed.push(source);
  }
  return { sources: makeSources(parsed, settings, options) };
}

/** Creates sources from parsed names, without opening them. */
export function makeSources(
  parsed: WantedSource[],
  settings: StartSettings,
  options: Pick<SourcesOptions, 'positions'>,
): Source[] {
  adoptPosition(parsed, options.positions);
  const gateway = parsed.find((source) => source.kind === 'gateway');
  const transcripts = parsed.find((source) => source.kind === 'transcripts');
  return parsed.flatMap((source): Source[] => {
    if (source === transcripts && gateway !== undefined) return [];
    const resume = options.positions[source.name] ?? {};
    if (source.kind !== 'gateway') return [createSource(source, lineOptions(settings, resume))];
    if (settings.from.length === 0) return [createDefault(source, settings, resume)];
    if (source !== gateway || transcripts === undefined) return [createGateway(source, settings, resume)];
    const { directory } = transcripts;
    return [withTranscripts(source, { directory, isThere: async () => true }, settings, resume)];
  });
}

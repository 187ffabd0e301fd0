/**
 * The sources of a start: those that the user names, else the gateway on this machine.
 */
import type { Positions, Source } from '../model/source.js';
import { type GatewaySecrets, openclawDirectory } from '../openclaw.js';
import type { StartSettings } from '../settings.js';
import {
  createGatewaySource,
  createSource,
  GATEWAY_BACKOFF,
  type GatewayPosition,
  holdsTranscripts,
  type ParsedSource,
  parseSourceName,
  withFallback,
} from '../source/index.js';
import { findGatewayUrl, gatewayAccess, isLocal } from './gateway.js';

export interface SourcesOptions {
  /** Where an earlier process stopped, by the source's name. */
  positions: Readonly<Record<string, Positions>>;
}

/** The gateway that is followed where no source is named. */
function parseDefault(settings: StartSettings): { parsed: ParsedSource[] } | { error: string } {
  const { value, origin } = findGatewayUrl(settings, process.env);
  const source = parseSourceName(value);
  if ('error' in source && /^wss?:/.test(value)) return { error: `${origin}: ${source.error}` };
  if ('error' in source || source.kind !== 'gateway')
    return { error: `${origin}: no address of a gateway; give ws://HOST:PORT or wss://HOST:PORT` };
  return { parsed: [source] };
}

function parseSources(settings: StartSettings): { parsed: ParsedSource[] } | { error: string } {
  const texts = settings.from;
  if (texts.length === 0) return parseDefault(settings);
  const parsed: ParsedSource[] = [];
  for (const text of texts) {
    const source = parseSourceName(text);
    if ('error' in source) return { error: `--from: ${source.error}` };
    if (parsed.some(({ name }) => name === source.name))
      return { error: `--from ${source.name}: given twice; leave one out` };
    parsed.push(source);
  }
  return { parsed };
}

/** A source with what is particular to it, where that is not in the settings. */
export type WantedSource = ParsedSource & {
  /** What opens the gateway. */
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

interface Transcripts {
  directory: string;
  isThere(): Promise<boolean>;
}

/** An OpenClaw that writes transcripts tells the same in them as over its gateway, so they are never both listened to. */
function withTranscripts(
  source: Named<'gateway'>,
  { directory, isThere }: Transcripts,
  settings: StartSettings,
  resume: Positions,
): Source {
  const name = `transcripts:${directory}`;
  const { [source.name]: _, ...others } = resume;
  return withFallback({
    preferred: createGateway(source, settings, resume),
    createFallback: async () =>
      (await isThere())
        ? createSource({ kind: 'transcripts', name, directory }, lineOptions(settings, others))
        : undefined,
    open_streams: Object.keys(others),
    messages: {
      begins: `following the transcripts below ${directory} until the gateway can be followed`,
      ends: `the gateway can be followed: the transcripts below ${directory} are left alone from here on`,
    },
  });
}

/** The gateway on this machine may belong to an OpenClaw that is too old for it, or not run: its transcripts are here too. */
function createDefault(source: Named<'gateway'>, settings: StartSettings, resume: Positions): Source {
  const directory = openclawDirectory(process.env);
  const transcripts = { directory, isThere: () => holdsTranscripts(directory) };
  return isLocal(source.url)
    ? withTranscripts(source, transcripts, settings, resume)
    : createGateway(source, settings, resume);
}

/** Makes the sources; nothing is opened yet. */
export function createSources(
  settings: StartSettings,
  options: SourcesOptions,
): { sources: Source[] } | { error: string } {
  const found = parseSources(settings);
  return 'error' in found ? found : { sources: makeSources(found.parsed, settings, options) };
}

/** Makes those that are named already; nothing is opened yet. */
export function makeSources(
  parsed: WantedSource[],
  settings: StartSettings,
  options: SourcesOptions,
): Source[] {
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

/**
 * The sources of a start: those that the user names, else the gateway on this machine.
 */
import type { Source } from '../model/source.js';
import type { Settings } from '../settings.js';
import {
  createGatewaySource,
  createSource,
  GATEWAY_BACKOFF,
  type GatewayPosition,
  type ParsedSource,
  parseSourceName,
} from '../source/index.js';
import { gatewayAccess, gatewayUrl } from './gateway.js';

export interface SourcesOptions {
  /** Where an earlier process stopped, by the source's name. */
  positions: Readonly<Record<string, unknown>>;
}

function parseSources(settings: Settings): { parsed: ParsedSource[] } | { error: string } {
  const texts = settings.from.length > 0 ? settings.from : [gatewayUrl(settings, process.env)];
  const parsed: ParsedSource[] = [];
  for (const text of texts) {
    const source = parseSourceName(text);
    if ('error' in source) return { error: `--from: ${source.error}` };
    if (parsed.some(({ name }) => name === source.name))
      return { error: `--from ${source.name}: given twice; leave one out` };
    if (source.kind === 'otlp')
      return { error: `--from ${source.name}: a source of this kind can't be followed yet` };
    parsed.push(source);
  }
  return { parsed };
}

/** Sources that can be asked again for what they told before: the bridge can go on where it stopped. */
export const isResumable = (settings: Settings): boolean => {
  const found = parseSources(settings);
  return 'parsed' in found && found.parsed.some(({ kind }) => kind === 'gateway');
};

/** Makes the sources; nothing is opened yet. */
export function createSources(
  settings: Settings,
  { positions }: SourcesOptions,
): { sources: Source[] } | { error: string } {
  const found = parseSources(settings);
  if ('error' in found) return found;
  const sources = found.parsed.flatMap((source): Source[] => {
    if (source.kind === 'gateway') {
      const access = gatewayAccess(source, settings, process.env);
      const resume = positions[source.name] as GatewayPosition | undefined;
      return [createGatewaySource({ access, resume, backoff: GATEWAY_BACKOFF })];
    }
    if (source.kind === 'otlp') return [];
    const { from_start, limits } = settings;
    return [createSource(source, { mode: 'follow', max_line_bytes: limits.line_bytes, from_start })];
  });
  return { sources };
}

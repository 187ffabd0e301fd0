/**
 * Parses destinations from the command line: `PRESET`, `PRESET=URL`, `NAME:PRESET` or `NAME:PRESET=URL`. Errors are data, and
 * never repeat what could contain a credential.
 */
import { PRESET_NAMES, type PresetName } from './presets.js';
import { urlProblem } from './url.js';

/** A destination as given on the command line. */
export interface DestinationOption {
  /** Unique among the destinations; the key in the summary. */
  name: string;
  preset: PresetName;
  /** The base URL. */
  url?: string;
}

/** A destination that may not have a name yet. */
export type UnnamedDestination = Omit<DestinationOption, 'name'> & { name?: string | undefined };

/** A configuration that can't be used, as data. */
export interface ConfigurationProblem {
  /** What is wrong, where, and what to do. */
  error: string;
}

export const DESTINATION_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

const FORMS = 'PRESET, PRESET=URL or NAME:PRESET=URL';

const isPreset = (text: string): text is PresetName => (PRESET_NAMES as readonly string[]).includes(text);

/** Parses one destination; its name is absent if none is given. */
export function parseDestination(text: string): UnnamedDestination | ConfigurationProblem {
  const [, left = '', url] = /^([^=]*)(?:=(.*))?$/s.exec(text) ?? [];
  const colon = left.indexOf(':');
  const name = colon === -1 ? undefined : left.slice(0, colon);
  const preset = left.slice(colon + 1);
  if (!isPreset(preset)) {
    const shown = DESTINATION_NAME.test(preset) ? `"${preset}" is not a preset` : 'no preset given';
    return { error: `${shown}: write ${FORMS}, where PRESET is one of ${PRESET_NAMES.join(', ')}` };
  }
  if (name !== undefined && !DESTINATION_NAME.test(name)) {
    return {
      error: `${preset}: a destination name must be 1 to 64 letters, digits, ".", "_" or "-", and start with a letter or digit`,
    };
  }
  const at = name ?? preset;
  if (url === undefined) return { name, preset };
  if (preset === 'console')
    return { error: `${at}: console prints to this terminal and has no URL; remove the URL` };
  const problem = urlProblem(url);
  return problem === undefined ? { name, preset, url } : { error: `${at}: the URL ${problem}` };
}

/** Parses all destinations of a command line, and gives each a unique name. */
export function parseDestinations(
  texts: readonly string[],
): { options: DestinationOption[] } | ConfigurationProblem {
  const unnamed: UnnamedDestination[] = [];
  for (const text of texts) {
    const parsed = parseDestination(text);
    if ('error' in parsed) return parsed;
    unnamed.push(parsed);
  }
  const named = nameDestinations(unnamed);
  return 'error' in named ? named : { options: named.destinations };
}

/** Names those without a name after their preset: `otlp`, then `otlp-2`, `otlp-3`, … A name that is given twice is an error. */
export function nameDestinations<D extends { name?: string | undefined; preset: string }>(
  unnamed: readonly D[],
): { destinations: (D & { name: string })[] } | ConfigurationProblem {
  const taken = new Set<string>();
  for (const { name } of unnamed) {
    if (name === undefined) continue;
    if (taken.has(name))
      return { error: `${name}: two destinations have this name; give each a unique name` };
    taken.add(name);
  }
  const destinations = unnamed.map((destination) => {
    const name = destination.name ?? freeName(destination.preset, taken);
    taken.add(name);
    return { ...destination, name };
  });
  return { destinations };
}

function freeName(preset: string, taken: ReadonlySet<string>): string {
  let name = preset;
  for (let number = 2; taken.has(name); number += 1) name = `${preset}-${number}`;
  return name;
}

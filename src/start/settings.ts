/**
 * The settings of a start: an option of the command line, else the environment (which the destinations read), else the
 * configuration file, else the default. The whole file is checked: an unknown key is an error.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { type Document, LineCounter, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import { DIALECTS } from '../decode/index.js';
import { type DestinationRecord, destinationSchema, parseDestination } from '../export/index.js';
import { errorReason } from '../util/errors.js';
import { flag, path as pathSetting, strictSettings } from '../util/schema.js';
import { limitsSchema, storeSchema } from './limits.js';
import { LOG_FORMATS, LOG_LEVELS } from './log-options.js';

const seconds = z.number().min(0).max(86_400);

/** Access to OpenClaw's gateway. A token is safer in the environment, as OPENCLAW_GATEWAY_TOKEN. */
const gatewaySchema = strictSettings({
  url: z.url({ protocol: /^wss?$/, error: 'must be ws://HOST:PORT or wss://HOST' }).optional(),
  token: z.string().min(1).optional(),
  password: z.string().min(1).optional(),
});

const configSchema = strictSettings({
  from: z.array(z.string(), 'must be a list, such as [stdin]').default([]),
  to: z.array(z.union([z.string(), destinationSchema]), 'must be a list, such as [clawmetry]').default([]),
  /** `run`: whether existing transcripts are read from their start. */
  from_start: flag.default(false),
  dialect: z.enum(DIALECTS).default('auto'),
  speed: z.number().positive().max(1_000_000).optional(),
  rebase_time: flag.default(false),
  content: flag.default(false),
  /** `replay`: seconds to wait for acknowledgements after the last event. */
  deadline: seconds.default(60),
  /** `run`: seconds to drain at the end. */
  drain: seconds.default(10),
  strict: flag.default(false),
  summary: pathSetting.optional(),
  log_level: z.enum(LOG_LEVELS).default('info'),
  log_format: z.enum(LOG_FORMATS).default('pretty'),
  /** Where the bridge stores data between two starts. */
  data_dir: pathSetting.optional(),
  /** Store nothing between two starts. */
  no_store: flag.default(false),
  gateway: gatewaySchema.prefault({}),
  limits: limitsSchema.prefault({}),
  store: storeSchema.prefault({}),
});

type ConfigFile = z.infer<typeof configSchema>;

export type Settings = Omit<ConfigFile, 'to'> & {
  /** Destinations of the command line, as written. */
  to: string[];
  /** Destinations of the configuration file: used if the command line names none, and for their settings. */
  records: DestinationRecord[];
};

/** The settings that any start needs, of a command or of the library. */
export type StartSettings = Pick<
  Settings,
  'from' | 'from_start' | 'dialect' | 'content' | 'data_dir' | 'no_store' | 'gateway' | 'limits' | 'store'
>;

/** Options as given on the command line; absent ones were not given. */
export type SettingOptions = { [K in keyof ConfigFile]?: unknown };

export interface SettingsError {
  /** What is wrong, where, and what to do. */
  error: string;
}

const UNKNOWN_TAG = 'Unknown tag; put text that begins with "!" in quotes';

/** By code: messages that replace those which quote a piece of the file, since that may be a token. */
const YAML_PROBLEMS: Record<string, string> = {
  BAD_DIRECTIVE: 'Invalid directive; put text that begins with "%" in quotes',
  BAD_DQ_ESCAPE: 'Invalid escape sequence in double quotes; write a backslash as \\\\, or use single quotes',
  MULTIPLE_DOCS: 'A second document; put all settings in one',
  RESOURCE_EXHAUSTION: 'Nested too deeply',
  TAG_RESOLVE_FAILED: UNKNOWN_TAG,
  UNEXPECTED_TOKEN: 'Unexpected text; put text that contains YAML syntax in quotes',
};

const UNRESOLVED_ALIAS = 'Alias without an anchor before it; put text that begins with "*" in quotes';

/** The first part of a document that has no value, and its offset; no piece of it is quoted. */
function findYamlProblem(document: Document): { what: string; offset: number } | undefined {
  // An unknown tag is only a warning, and the text behind it is used without the tag.
  const tags = document.warnings.filter(({ code }) => code === 'TAG_RESOLVE_FAILED');
  const [error] = [...document.errors, ...tags];
  if (error !== undefined) return { what: YAML_PROBLEMS[error.code] ?? error.message, offset: error.pos[0] };
  let problem: { what: string; offset: number } | undefined;
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return undefined;
      problem = { what: UNRESOLVED_ALIAS, offset: alias.range?.[0] ?? 0 };
      return visit.BREAK;
    },
    Scalar(_key, { tag, range }) {
      // The non-specific tag, which forces a text and is not used in practice.
      if (tag !== '!') return undefined;
      problem = { what: UNKNOWN_TAG, offset: range?.[0] ?? 0 };
      return visit.BREAK;
    },
  });
  return problem;
}

function parseYaml(content: string): { value: unknown } | SettingsError {
  const lineCounter = new LineCounter();
  try {
    const document = parseDocument(content, { lineCounter, prettyErrors: false, logLevel: 'error' });
    const problem = findYamlProblem(document);
    if (problem === undefined) return { value: document.toJS() };
    const { line, col } = lineCounter.linePos(problem.offset);
    return { error: `${problem.what} (line ${line}, column ${col})` };
  } catch {
    return { error: 'Too many aliases, or nested too deeply' };
  }
}

function readConfigFile(path: string): { values: Record<string, unknown> } | SettingsError {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    return {
      error: `can't read the configuration file ${path}: ${errorReason(error)}; check the path, and that this user can read it`,
    };
  }
  if (!isUtf8(content)) return { error: `${path}: not valid UTF-8; save it as UTF-8` };
  const parsed = parseYaml(content.toString());
  if ('error' in parsed) return { error: `${path}: not valid YAML: ${parsed.error}` };
  const values = parsed.value ?? {};
  if (typeof values !== 'object' || Array.isArray(values)) {
    return { error: `${path}: must be a YAML mapping of settings, such as "to: [clawmetry]"` };
  }
  return { values: values as Record<string, unknown> };
}

/** If a value can have several forms, the form that it comes closest to shows what is wrong with it. */
function nearestIssue(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const [nearest] = issue.errors
    .flatMap(([first]) => first ?? [])
    .sort((a, b) => nearestIssue(b).path.length - nearestIssue(a).path.length);
  return nearest === undefined ? issue : nearestIssue({ ...nearest, path: [...issue.path, ...nearest.path] });
}

/** Whether a key of the file is not a valid name, but contains its value, as happens if the colon is forgotten. */
const holdsValue = (key: PropertyKey): boolean => !/^[\w.-]*$/.test(String(key));

/** Describes such a key without quoting the value, which may be a token. */
function describeKey(key: string): string {
  const [name = ''] = /^[\w.-]*/.exec(key) ?? [];
  return /^\s/.test(key.slice(name.length))
    ? `"${name} …" has no colon after the name; write NAME: VALUE`
    : `"${name}…" is not a valid name; write NAME: VALUE, with a space after the colon`;
}

/** The first key that contains a value, and the path of its parent. */
function keyWithValue(issue: z.core.$ZodIssue): { key: string; place: PropertyKey[] } | undefined {
  const at = issue.path.findIndex(holdsValue);
  if (at !== -1) return { key: String(issue.path[at]), place: issue.path.slice(0, at) };
  const key = issue.code === 'unrecognized_keys' ? issue.keys.find(holdsValue) : undefined;
  return key === undefined ? undefined : { key, place: issue.path };
}

function describeIssue(issue: z.core.$ZodIssue, path: string | undefined): string {
  const wrong = keyWithValue(issue);
  const place = (wrong?.place ?? issue.path).map(String).join('.');
  const where = path === undefined ? `--${place.replaceAll('_', '-')}` : `${path}: ${place || 'top level'}`;
  if (wrong !== undefined) return `${where}: ${describeKey(wrong.key)}`;
  return `${where}: ${issue.message}`;
}

/** The first problem of these values: of the file, if `path` is given, else of the command line. */
function checkValues(values: object, path: string | undefined): SettingsError | undefined {
  const [issue] = configSchema.safeParse(values).error?.issues ?? [];
  return issue && { error: describeIssue(nearestIssue(issue), path) };
}

/** Checks the file and the options separately, so that an error names the one that it is in. */
export function resolveSettings(options: SettingOptions, config_path?: string): Settings | SettingsError {
  const file = config_path === undefined ? { values: {} } : readConfigFile(config_path);
  if ('error' in file) return file;
  return checkValues(file.values, config_path ?? '') ?? mergeSettings(options, file.values, config_path);
}

/** `values`: those of a file that has been checked. */
function mergeSettings(
  options: SettingOptions,
  values: Record<string, unknown>,
  config_path?: string,
): Settings | SettingsError {
  const problem = checkValues(options, undefined);
  if (problem !== undefined) return problem;
  const records = toRecords(configSchema.parse(values).to);
  if ('error' in records) return { error: `${config_path}: to: ${records.error}` };
  // With a directory on the command line something is to be kept there, whatever the file says.
  const kept = options.data_dir === undefined ? {} : { no_store: false };
  const { to: named, ...settings } = configSchema.parse({ ...values, to: [], ...kept, ...options });
  return { ...settings, to: named.filter((each) => typeof each === 'string'), ...records };
}

/** Turns names of the file into records without further settings. */
function toRecords(configured: ConfigFile['to']): { records: DestinationRecord[] } | SettingsError {
  const records: DestinationRecord[] = [];
  for (const each of configured) {
    const parsed = typeof each === 'string' ? parseDestination(each) : each;
    if ('error' in parsed) return parsed;
    records.push(destinationSchema.parse(parsed));
  }
  return { records };
}

/** The settings as far as they are usable, and all problems of the file. */
export interface Diagnosis {
  settings: Settings;
  problems: string[];
}

/** For `doctor`, which leaves out invalid settings of the file and continues, where a start would fail. */
export function diagnoseSettings(options: SettingOptions, config_path?: string): Diagnosis | SettingsError {
  const file = config_path === undefined ? { values: {} } : readConfigFile(config_path);
  const values: Record<string, unknown> = 'error' in file ? {} : file.values;
  const problems = 'error' in file ? [file.error] : [];
  for (const issue of configSchema.safeParse(values).error?.issues ?? []) {
    problems.push(describeIssue(nearestIssue(issue), config_path ?? ''));
    for (const key of issue.code === 'unrecognized_keys' && issue.path.length === 0
      ? issue.keys
      : [issue.path[0]])
      delete values[String(key)];
  }
  const records = toRecords(configSchema.parse(values).to);
  if ('error' in records) {
    problems.push(`${config_path}: to: ${records.error}`);
    delete values.to;
  }
  const settings = mergeSettings(options, values);
  return 'error' in settings ? settings : { settings, problems };
}

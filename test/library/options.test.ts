/** Errors in options name the place, what is wrong, and what would be right; and never contain a secret. */
import { BatchSpanProcessor, InMemorySpanExporter } from '@opentelemetry/sdk-trace-base';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  type AgentEvent,
  type BridgeOptions,
  ConfigurationError,
  createBridge,
  createCorrelator,
  DEFAULT_LIMITS,
  type DestinationRecord,
  type Limits,
  type ProcessorRecord,
  type SourceRecord,
} from '../../src/index.js';
import { readOptions } from '../../src/library/options.js';
import { limitsSchema, storeSchema } from '../../src/start/limits.js';

const JAEGER = { preset: 'jaeger' };
const SECRET = 'hunter2-hunter2';

/** The message of the error that createBridge throws, or `nothing`. The options may be those of an untyped program. */
function problemOf(options: unknown): string {
  try {
    createBridge(options as BridgeOptions);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(error.name).toBe('ConfigurationError');
    return error.message;
  }
  return 'nothing';
}

const withSource = (source: unknown) => ({ sources: [source], destinations: [JAEGER] });
const withDestination = (destination: unknown) => ({ destinations: [destination] });

/** Sets each key explicitly to undefined. */
type NotGiven<T> = { [K in keyof Required<T>]: undefined };

const NO_OPTIONS: NotGiven<Omit<BridgeOptions, 'destinations'>> = {
  sources: undefined,
  content: undefined,
  data_dir: undefined,
  from_start: undefined,
  limits: undefined,
  store: undefined,
  correlator: undefined,
  logger: undefined,
};
const NO_GATEWAY: NotGiven<Omit<Extract<SourceRecord, { kind: 'gateway' }>, 'kind'>> = {
  url: undefined,
  token: undefined,
  password: undefined,
};
const NO_SETTINGS: NotGiven<Omit<Extract<DestinationRecord, { preset: 'otlp' }>, 'preset'>> = {
  name: undefined,
  url: undefined,
  signals: undefined,
  encoding: undefined,
  compression: undefined,
  headers: undefined,
  bearer: undefined,
  tls: undefined,
  temporality: undefined,
  profile: undefined,
  open_spans: undefined,
  timeout_ms: undefined,
};
const NO_PROCESSORS: NotGiven<ProcessorRecord> = {
  name: undefined,
  span_processor: undefined,
  log_record_processor: undefined,
  metric_reader: undefined,
};
const NO_LIMITS = Object.fromEntries(
  Object.keys(DEFAULT_LIMITS).map((name) => [name, undefined]),
) as NotGiven<Limits>;

const own = (name: unknown) => ({ name, open() {}, close() {} });

const WRONG: [what: string, options: unknown, problem: RegExp][] = [
  ['no options at all', undefined, /^options: .*expected object/],
  [
    'an unknown option',
    { destinations: [JAEGER], dialect: 'auto' },
    /^options: .*"dialect" \(known: sources, destinations, /,
  ],
  ['no destinations', {}, /^destinations: .*expected array/],
  [
    'an empty list of destinations',
    { destinations: [] },
    /^destinations: must have at least one destination, such as/,
  ],
  [
    'a destination without a preset',
    withDestination({ url: 'http://a' }),
    /^destinations\.0: must have a preset/,
  ],
  [
    'an unknown preset',
    withDestination({ preset: 'jaegr' }),
    /^destinations\.0\.preset: must be a preset, one of clawmetry, jaeger,/,
  ],
  ['an invalid URL', withDestination({ ...JAEGER, url: 'a' }), /^destinations\.0\.url: is not an http/],
  [
    'credentials in a URL',
    withDestination({ ...JAEGER, url: `http://me:${SECRET}@a` }),
    /^destinations\.0\.url: contains credentials; put them in a header/,
  ],
  [
    "a header that can't be sent",
    withDestination({ ...JAEGER, headers: { authorization: `${SECRET}\n` } }),
    /^destinations\.0\.headers: /,
  ],
  [
    'a missing certificate',
    withDestination({ ...JAEGER, url: 'https://a', tls: { ca: '/nowhere.pem' } }),
    /^destinations: jaeger: can't read the root certificate file \/nowhere\.pem as PEM/,
  ],
  [
    'two destinations with the same name',
    {
      destinations: [
        { ...JAEGER, name: 'a' },
        { preset: 'otlp', name: 'a' },
      ],
    },
    /^destinations: a: two destinations have this name/,
  ],
  [
    'two consoles',
    { destinations: [{ preset: 'console' }, { preset: 'console', name: 'b' }] },
    /^destinations: console is given twice; remove one/,
  ],
  [
    'an invalid processor',
    withDestination({ span_processor: {} }),
    /^destinations\.0\.span_processor: must be an object with the methods onEnd, forceFlush, shutdown/,
  ],
  [
    'a processor beside a preset',
    withDestination({ ...JAEGER, span_processor: new BatchSpanProcessor(new InMemorySpanExporter()) }),
    /^destinations\.0: .*"preset"/,
  ],
  ['a source of an unknown kind', withSource({ kind: 'http' }), /^sources\.0\.kind: .*'gateway'/],
  ['a source without its path', withSource({ kind: 'file' }), /^sources\.0\.path: /],
  ['an unknown key of a source', withSource({ kind: 'stdin', path: 'a' }), /^sources\.0: .*"path"/],
  [
    'a socket without an address',
    withSource({ kind: 'listen', host: 'a' }),
    /^sources\.0: must have either a path \(of a Unix socket\) or a port, with or without a host/,
  ],
  [
    'a socket with two addresses',
    withSource({ kind: 'socket', path: 'a', port: 1 }),
    /^sources\.0: must have either/,
  ],
  [
    'a path of a socket with a host',
    withSource({ kind: 'listen', path: 'a', host: 'b' }),
    /^sources\.0: must have either/,
  ],
  ['port 0 to connect to', withSource({ kind: 'socket', port: 0 }), /^sources\.0: invalid address in /],
  ['a path that is too long', withSource({ kind: 'listen', path: 'a'.repeat(200) }), /^sources\.0: .*bytes/],
  ['an invalid gateway URL', withSource({ kind: 'gateway', url: 'stdin' }), /^sources\.0\.url: must be ws:/],
  [
    'a gateway URL of another protocol',
    withSource({ kind: 'gateway', url: 'http://a' }),
    /^sources\.0\.url: must be ws:/,
  ],
  [
    'an unknown key of a gateway',
    withSource({ kind: 'gateway', url: 'ws://a', tokn: SECRET }),
    /^sources\.0: .*"tokn"/,
  ],
  [
    'recordings without a file',
    withSource({ kind: 'recordings', paths: [] }),
    /^sources\.0\.paths: must have at least one file/,
  ],
  ['a source that is a string', withSource('stdin'), /^sources\.0: .*expected object/],
  [
    'two sources with the same name',
    { sources: [{ kind: 'stdin' }, { kind: 'stdin' }], destinations: [JAEGER] },
    /^sources\.1: another source is already named stdin; remove one/,
  ],
  [
    'a custom source without a method',
    withSource({ name: 'own', open() {} }),
    /^sources\.0: must have a kind, such as "file", or be an object with the methods open and close/,
  ],
  ['a custom source without a name', withSource(own(undefined)), /^sources\.0\.name: /],
  [
    "a custom source with the bridge's name",
    withSource(own('pushed')),
    /^sources\.0: another source is already named pushed/,
  ],
  ['a limit that is too small', { destinations: [JAEGER], limits: { memory_mb: 0 } }, /^limits\.memory_mb: /],
  ['an unknown limit', { destinations: [JAEGER], limits: { memory: 1 } }, /^limits: .*"memory"/],
  [
    'an invalid time limit of the correlator',
    { destinations: [JAEGER], correlator: { hold_ms: '1' } },
    /^correlator\.hold_ms: /,
  ],
  [
    'an unknown limit of the correlator',
    { destinations: [JAEGER], correlator: { hold: 1 } },
    /^correlator: .*"hold"/,
  ],
  [
    'an invalid logger',
    { destinations: [JAEGER], logger: {} },
    /^logger: must be an object with the methods info, warn, error/,
  ],
  ['an empty data directory', { destinations: [JAEGER], data_dir: '' }, /^data_dir: must not be empty/],
];

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('an invalid option is reported with its place', () => {
  test.each(WRONG)('%s', (_, options, problem) => {
    const message = problemOf(options);
    expect(message).toMatch(problem);
    expect(message).not.toContain(SECRET);
  });

  test('an unusable environment variable', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'nothing');
    expect(problemOf({ destinations: [{ preset: 'otlp' }] })).toMatch(
      /^destinations: .*OTEL_EXPORTER_OTLP_ENDPOINT/,
    );
  });
});

describe('valid options', () => {
  test('need only a destination', () => {
    expect(problemOf({ destinations: [JAEGER] })).toBe('nothing');
  });

  test('may set each option to undefined', () => {
    const options: BridgeOptions = { ...NO_OPTIONS, destinations: [{ preset: 'otlp' }] };
    expect(readOptions(options)).toEqual(readOptions({ destinations: [{ preset: 'otlp' }] }));
  });

  test('may set each key within an option to undefined', () => {
    const span_processor = new BatchSpanProcessor(new InMemorySpanExporter());
    const given: BridgeOptions = {
      sources: [{ kind: 'gateway' }, { kind: 'otlp', port: 1 }],
      destinations: [{ preset: 'otlp' }, { span_processor }],
    };
    const options: BridgeOptions = {
      sources: [
        { ...NO_GATEWAY, kind: 'gateway' },
        { kind: 'otlp', host: undefined, port: 1 },
      ],
      destinations: [
        { ...NO_PROCESSORS, ...NO_SETTINGS, preset: 'otlp' },
        { ...NO_SETTINGS, ...NO_PROCESSORS, span_processor },
      ],
      limits: Object.fromEntries(Object.keys(limitsSchema.shape).map((key) => [key, undefined])),
      store: Object.fromEntries(Object.keys(storeSchema.shape).map((key) => [key, undefined])),
      correlator: NO_LIMITS,
    };
    expect(readOptions(options)).toEqual(readOptions(given));
    const tls = { ca: undefined, cert: undefined, key: undefined };
    expect(problemOf(withDestination({ ...JAEGER, tls }))).toBe('nothing');
  });

  test('with an undefined limit leave the correlator its default', () => {
    const started: AgentEvent = { type: 'agent.started', ts: 1, session_key: 's', run_id: 'r' };
    const [first, second] = [undefined, NO_LIMITS].map((limits) => {
      const correlator = createCorrelator(limits === undefined ? {} : { limits });
      correlator.apply(started, 1);
      return correlator.nextDeadline();
    });
    expect(first).toBeGreaterThan(1);
    expect(second).toBe(first);
  });

  test('may have every kind of source', () => {
    const options: BridgeOptions = {
      sources: [
        { kind: 'stdin' },
        { kind: 'file', path: 'events.ndjson' },
        { kind: 'recordings', paths: ['a.ndjson', 'b.ndjson'] },
        { kind: 'socket', path: '/run/agent.sock' },
        { kind: 'socket', host: '::1', port: 4000 },
        { kind: 'listen', path: '/run/events.sock' },
        { kind: 'listen', port: 0 },
        { kind: 'otlp', port: 0 },
        { kind: 'transcripts', directory: '/var/agents' },
        { kind: 'gateway', url: 'wss://gateway.example', token: 'token' },
        { kind: 'gateway' },
      ],
      destinations: [{ preset: 'console' }],
    };
    expect(problemOf(options)).toBe('nothing');
  });
});

import { describe, expect, test, vi } from 'vitest';
import { type Bearer, openBearer } from '../../src/export/bearer.js';
import type { DestinationConfig, EndpointConfig } from '../../src/export/config.js';
import {
  type DestinationDependencies,
  MACHINE,
  openDestination,
  type Surroundings,
} from '../../src/export/destination.js';
import { createMetrics } from '../../src/export/metrics.js';
import { PRESETS } from '../../src/export/presets.js';
import type { Outcome } from '../../src/export/verdict.js';
import { SIGNALS, type Signal } from '../../src/model/delivery.js';
import {
  answered,
  deferred,
  emission,
  fakeClock,
  fakeLogger,
  log,
  OK,
  openSpan,
  scriptedPost,
  seededRandom,
  span,
  spanId,
  UNREACHABLE,
} from './fakes.js';

const NO_SNAPSHOT = () => ({ source: { events: 0, rejected: {} }, destinations: {} });

function configFor(preset: 'clawmetry' | 'jaeger' | 'collector', headers = {}): DestinationConfig {
  const { url, signals, encoding, temporality, profile, open_spans, timeout_ms } = PRESETS[preset];
  const endpoint = (signal: Signal): EndpointConfig => ({
    url: `${url}/v1/${signal}`,
    encoding,
    compression: 'none',
    headers,
    environment_headers: { variable: 'OTEL_EXPORTER_OTLP_HEADERS', names: [] },
    tls: {},
    timeout_ms,
  });
  const endpoints = Object.fromEntries(signals.map((signal) => [signal, endpoint(signal)]));
  return { name: preset, preset, endpoints, temporality, profile, open_spans };
}

const EMPTY_STORE: DestinationDependencies['saved'] = {
  instance_id: 'host-1',
  entries: () => [],
  read: () => undefined,
  answers: () => ({ ids: new Uint8Array(), places: {} }),
};

type Script = ReturnType<typeof scriptedPost>;

function open(
  config: DestinationConfig,
  scripts: Partial<Record<Signal, Script>> = {},
  changes: Partial<DestinationDependencies & Surroundings> = {},
) {
  const clock = fakeClock();
  const logger = fakeLogger();
  const closed: string[] = [];
  const all = { traces: scriptedPost([]), metrics: scriptedPost([]), logs: scriptedPost([]), ...scripts };
  const destination = openDestination(config, {
    ...MACHINE,
    logger,
    memory_limit_bytes: 9 * 1024 * 1024,
    now: clock.now,
    random: seededRandom(),
    sleep: clock.sleep,
    transport: ({ url }) => ({
      post: all[SIGNALS.find((signal) => url.endsWith(signal)) ?? 'traces'].post,
      close: async () => {
        closed.push(url);
      },
    }),
    ...changes,
  });
  return { destination, scripts: all, clock, logger, closed };
}

describe('what a destination sends', () => {
  test('to ClawMetry: open spans and then their final copies; only tool logs, 16 at a time', async () => {
    const { destination, scripts } = open(configFor('clawmetry'));
    destination.accept(emission({ previews: [openSpan()] }));
    await destination.idle();
    destination.accept(
      emission({
        spans: [span()],
        logs: [log({ event_name: 'openclaw.agent_finished' }), ...Array.from({ length: 20 }, () => log())],
      }),
    );
    await destination.idle();
    const sent = scripts.traces.bodies.map((body) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans);
    expect(sent.map((spans) => spans.map((each: object) => 'endTimeUnixNano' in each))).toEqual([
      [false],
      [true],
    ]);
    const logs = scripts.logs.bodies.map((body) => JSON.parse(body).resourceLogs[0].scopeLogs[0].logRecords);
    expect(logs.map((records) => records.length)).toEqual([16, 4]);
    expect(destination.summary()).toMatchObject({
      traces: { produced: 1, delivered: 1 },
      metrics: { produced: 0 },
      logs: { produced: 20, delivered: 20 },
    });
  });

  test('a correction of an ended span goes only to backends that replace spans, and is not counted as another span', async () => {
    const corrected = span({ attributes: { 'gen_ai.usage.reasoning.output_tokens': 7 } });
    for (const [preset, sent] of [
      ['clawmetry', 2],
      ['jaeger', 1],
    ] as const) {
      const { destination, scripts } = open(configFor(preset));
      destination.accept(emission({ spans: [span()] }));
      await destination.idle();
      destination.accept(emission({ corrections: [corrected] }));
      await destination.idle();
      expect(scripts.traces.bodies).toHaveLength(sent);
      expect(destination.summary()).toMatchObject({ traces: { produced: 1, delivered: 1 } });
      if (sent === 2) expect(String(scripts.traces.bodies[1])).toContain('reasoning.output_tokens');
    }
  });

  test('to other backends: no open spans, and only the signals that they support', async () => {
    const { destination, scripts } = open(configFor('jaeger'));
    destination.accept(emission({ previews: [openSpan()], spans: [span()], logs: [log()] }));
    await destination.collectMetrics();
    await destination.idle();
    expect(scripts.traces.bodies).toHaveLength(1);
    expect(Object.keys(destination.summary())).toEqual(['traces']);
    expect(destination).not.toHaveProperty('reader');
  });

  test('each metrics collection is one request, repeated with the same bytes until it is accepted, and counted by data points', async () => {
    const metrics_script = scriptedPost([answered(503), UNREACHABLE, OK]);
    const { destination } = open(configFor('collector'), { metrics: metrics_script });
    const metrics = createMetrics([destination.reader!], NO_SNAPSHOT);
    const add = (value: number) =>
      metrics.record([
        { instrument: 'openclaw.cost', value, attributes: { 'gen_ai.request.model': 'opus' } },
      ]);
    add(1);
    await destination.collectMetrics();
    add(1);
    await destination.collectMetrics();
    await destination.idle();
    // Nothing is sent before sendMetrics().
    expect(metrics_script.bodies).toEqual([]);
    destination.sendMetrics();
    await destination.idle();
    const [first, second, third, fourth] = metrics_script.bodies;
    expect(metrics_script.bodies).toHaveLength(4);
    expect(second).toBe(first);
    expect(third).toBe(first);
    expect(fourth).not.toBe(first);
    expect(destination.summary().metrics).toMatchObject({ produced: 4, delivered: 4, pending: 0 });
  });

  test('the time until each response is reported', async () => {
    const exports: unknown[] = [];
    const slow = scriptedPost([
      () => {
        opened.clock.advance(40);
        return OK;
      },
    ]);
    const opened = open(configFor('jaeger'), { traces: slow }, { onExport: (...told) => exports.push(told) });
    opened.destination.accept(emission({ spans: [span()] }));
    await opened.destination.idle();
    expect(exports).toEqual([['traces', 'jaeger', 40]]);
  });
});

describe('a data point because of which a backend refuses the whole request', () => {
  test.each(['delta', 'cumulative'] as const)(
    '%s: is rejected alone, and the sums of the others stay right',
    async (temporality) => {
      const sent: string[] = [];
      const taken: string[] = [];
      const { destination } = open(
        { ...configFor('collector'), temporality },
        {},
        {
          transport: () => ({
            async post(body) {
              // Protobuf stores strings as they are.
              const text = Buffer.from(body).toString('latin1');
              sent.push(text);
              if (text.includes('poison')) return answered(503, 'no', 1_000);
              taken.push(text);
              return OK;
            },
            close: async () => {},
          }),
        },
      );
      const metrics = createMetrics([destination.reader!], NO_SNAPSHOT);
      for (let collection = 1; collection <= 3; collection += 1) {
        for (const model of ['opus', 'poison', 'haiku'])
          metrics.record([
            { instrument: 'openclaw.cost', value: 1, attributes: { 'gen_ai.request.model': model } },
          ]);
        await destination.collectMetrics();
        destination.sendMetrics();
        await destination.idle();
      }
      const { produced = 0, delivered, pending, rejected } = destination.summary().metrics!;
      expect({ delivered, pending, rejected }).toEqual({
        delivered: produced - 3,
        pending: 0,
        rejected: { poison: 3 },
      });
      for (const model of ['opus', 'haiku'])
        expect(taken.filter((text) => text.includes(model))).toHaveLength(3);
      // Once it is known as poison, a collection is one request for the rest and a separate one, tried twice, for the
      // poison.
      expect(sent.slice(-3).map((text) => text.includes('poison'))).toEqual([false, true, true]);
    },
  );
});

describe('a backend that only accepts JSON', () => {
  const NO_PROTOBUF = answered(501, 'install the extra');

  test('gets everything in JSON, each signal from its second request on, and the log says so once', async () => {
    const sent: string[] = [];
    const taken: string[] = [];
    const { destination, logger } = open(
      configFor('collector'),
      {},
      {
        transport: ({ url }) => ({
          async post(body, _, encoding) {
            const signal = url.slice(url.lastIndexOf('/') + 1);
            sent.push(`${signal} ${encoding}`);
            if (encoding !== 'json') return NO_PROTOBUF;
            taken.push(Buffer.from(body).toString());
            return OK;
          },
          close: async () => {},
        }),
      },
    );
    const metrics = createMetrics([destination.reader!], NO_SNAPSHOT);
    for (const value of [1, 2]) {
      metrics.record([
        { instrument: 'openclaw.cost', value, attributes: { 'gen_ai.request.model': 'opus' } },
      ]);
      await destination.collectMetrics();
      destination.sendMetrics();
    }
    destination.accept(emission({ spans: [span()], logs: [log()] }));
    await destination.idle();
    for (const signal of ['traces', 'logs'])
      expect(sent.filter((each) => each.startsWith(signal))).toEqual([
        `${signal} protobuf`,
        `${signal} json`,
      ]);
    expect(sent.filter((each) => each.startsWith('metrics'))).toEqual([
      'metrics protobuf',
      'metrics json',
      'metrics json',
    ]);
    const costs = taken
      .flatMap((body) => JSON.parse(body).resourceMetrics ?? [])
      .map(({ scopeMetrics: [{ metrics: each }] }) =>
        each.find(({ name }: never) => name === 'openclaw.cost'),
      );
    expect(costs.map(({ sum }) => sum.dataPoints[0].asDouble)).toEqual([1, 3]);
    expect(destination.summary()).toMatchObject({
      traces: { produced: 1, delivered: 1, rejected: {} },
      metrics: { produced: 4, delivered: 4, rejected: {} },
      logs: { produced: 1, delivered: 1, rejected: {} },
    });
    expect(logger.lines).toEqual([
      expect.stringMatching(
        /^warn collector does not accept protobuf at http.*HTTP 501: install the extra.*as JSON/,
      ),
    ]);
  });
});

describe('independence', () => {
  test('a lane whose request is never answered does not block the others; closing leaves its data pending', async () => {
    const taken = deferred<void>();
    const answering = scriptedPost([
      () => {
        setImmediate(taken.resolve);
        return OK;
      },
    ]);
    const stuck = {
      ...scriptedPost([]),
      post: (_: Uint8Array, signal?: AbortSignal) =>
        new Promise<Outcome>((resolve) => {
          signal?.addEventListener('abort', () => resolve(UNREACHABLE));
        }),
    };
    const { destination, closed } = open(configFor('collector'), { traces: answering, logs: stuck });
    const spans = [1, 2, 3].map((number) => span({ span_id: spanId(number) }));
    destination.accept(emission({ spans, logs: [log(), log(), log()] }));
    await taken.promise;
    expect(destination.pending()).toBe(3);
    await destination.close();
    expect(destination.summary()).toMatchObject({
      traces: { produced: 3, delivered: 3, pending: 0 },
      logs: { produced: 3, delivered: 0, pending: 3 },
    });
    expect(closed).toHaveLength(3);
  });
});

describe('the log', () => {
  const SECRET = 'Bearer hunter2-hunter2';
  const outage = (length: number) => Array.from({ length }, () => UNREACHABLE);

  test('says once that a backend is down, what happens to the data, and that it is back', async () => {
    const down = { traces: scriptedPost(outage(10)), logs: scriptedPost(outage(10)) };
    const { destination, logger } = open(configFor('collector'), down);
    destination.accept(emission({ spans: [span()], logs: [log()] }));
    await destination.idle();
    expect(logger.lines).toHaveLength(2);
    expect(logger.lines[0]).toMatch(
      /^warn collector .*http:\/\/127\.0\.0\.1:4318\/v1\/.*ECONNREFUSED.*kept in memory, up to 9 MB/,
    );
    expect(logger.lines[1]).toMatch(/^info collector accepts data again/);
  });

  test.each([
    ['on disk', true],
    ['in memory, up to 9 MB,', false],
  ])('says that data is kept %s if it has a store, which can be written: %s', async (place, is_writable) => {
    const down = { traces: scriptedPost(outage(1)) };
    const { destination, logger } = open(configFor('jaeger'), down, { saved: EMPTY_STORE });
    destination.outbox?.setWritable(is_writable);
    destination.accept(emission({ spans: [span()] }));
    await destination.idle();
    expect(logger.lines[0]).toContain(`: data is kept ${place} and retried until it is accepted`);
  });

  test('reports a new reason for being down, and the latest one is always available, also during a search for poison', async () => {
    const told: (string | undefined)[] = [];
    const busy = Array.from({ length: 30 }, (_, number) => () => {
      told.push(destination.problems?.().traces?.message);
      return answered(503, `busy since ${number}`);
    });
    const down = { traces: scriptedPost([...outage(10), ...busy]) };
    const { destination, logger } = open(configFor('jaeger'), down);
    destination.accept(emission({ spans: [span(), span({ span_id: spanId(2) })] }));
    await destination.idle();
    expect(logger.lines).toEqual([
      expect.stringContaining('ECONNREFUSED'),
      expect.stringContaining('HTTP 503'),
      expect.stringContaining('accepts data again'),
    ]);
    const last = Array.from({ length: 29 }, (_, number) => `HTTP 503: busy since ${number}`);
    expect(told).toEqual(['connect ECONNREFUSED', ...last]);
  });

  test("a 200 with an HTML page is not a backend's response: no data is lost, and the log says what to check", async () => {
    const pages = ['<!doctype html>', '\n<html>', '\uFEFF<?xml version="1.0"?>'].map((page) =>
      answered(200, page),
    );
    const traces = scriptedPost(pages);
    const { destination, logger } = open(configFor('jaeger'), { traces });
    destination.accept(emission({ spans: [span()] }));
    await destination.idle();
    expect(traces.bodies).toHaveLength(pages.length + 1);
    expect(destination.summary().traces).toMatchObject({ delivered: 1, pending: 0 });
    expect(logger.lines[0]).toMatch(
      /^warn jaeger does not accept data .*HTTP 200 with a web page.*check the URL/,
    );
  });

  test('does not flicker when the backend does', async () => {
    const flicker = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? UNREACHABLE : OK));
    const { destination, logger } = open(configFor('jaeger'), { traces: scriptedPost(flicker) });
    for (let number = 1; number <= 20; number += 1) {
      destination.accept(emission({ spans: [span({ span_id: spanId(number) })] }));
      await destination.idle();
    }
    expect(logger.lines).toHaveLength(2);
  });

  test('reports a loss once per reason, then with the total of each minute', async () => {
    const refusing = scriptedPost([], answered(400, 'bad\u001b[31m request'));
    const { destination, logger, clock } = open(configFor('jaeger'), { traces: refusing });
    const send = async () => {
      destination.accept(emission({ spans: [span()] }));
      await destination.idle();
    };
    for (let count = 0; count < 10; count += 1) await send();
    expect(logger.lines).toEqual([
      expect.stringMatching(/^error jaeger: 1 span rejected.*http_400.*bad \[31m request/),
    ]);
    clock.advance(60_000);
    await send();
    expect(logger.lines[1]).toContain('jaeger: 10 spans rejected');
    await send();
    await send();
    expect(logger.lines).toHaveLength(2);
    await destination.close();
    expect(logger.lines.slice(2)).toEqual([expect.stringContaining('jaeger: 2 spans rejected')]);
  });

  test('reports at once what is lost after it is closed', async () => {
    const unreachable = scriptedPost([], UNREACHABLE);
    const { destination, logger } = open(
      configFor('jaeger'),
      { traces: unreachable },
      { saved: EMPTY_STORE },
    );
    const lose = () => {
      destination.accept(emission({ spans: [span()] }), false);
      destination.outbox?.dropUnstored('the disk is full');
    };
    lose();
    lose();
    const reported = () => logger.lines.filter((line) => line.includes('store_unwritable'));
    expect(reported()).toHaveLength(1);
    await destination.close();
    expect(reported()).toHaveLength(2);
    lose();
    expect(reported()).toHaveLength(3);
  });

  test('does not report lost copies of open spans, which do not count', async () => {
    const refusing = scriptedPost([], answered(400));
    const { destination, logger } = open(configFor('clawmetry'), { traces: refusing });
    destination.accept(emission({ previews: [openSpan()] }));
    await destination.idle();
    expect(logger.lines).toEqual([]);
    destination.accept(emission({ spans: [span()] }));
    await destination.idle();
    expect(logger.lines).toEqual([expect.stringMatching(/^error clawmetry: 1 span rejected/)]);
  });

  test('contains no header value, even if the backend repeats it', async () => {
    const echo = scriptedPost([
      answered(503, `no: ${SECRET}`),
      answered(401, {
        error: `token ${SECRET.slice('Bearer '.length)} is unknown`,
        padding: 'x'.repeat(500),
      }),
      answered(401, `${'x'.repeat(180)} ${SECRET}`),
      answered(200, { partialSuccess: { rejectedSpans: '1', errorMessage: SECRET } }),
    ]);
    const { destination, logger, clock } = open(configFor('clawmetry', { authorization: SECRET }), {
      traces: echo,
    });
    for (let number = 1; number <= 3; number += 1) {
      destination.accept(emission({ spans: [span({ span_id: spanId(number) })] }));
      await destination.idle();
      clock.advance(60_000);
    }
    expect(logger.lines.length).toBeGreaterThanOrEqual(4);
    expect(logger.lines.join()).not.toMatch(/hunter|Bearer h/);
    expect(logger.lines.join()).toContain('[redacted]');
  });

  test('contains no part of a header that is longer than the stored part of a response', async () => {
    const secret = `Bearer ${'hunter2é'.repeat(330)}`;
    const echo = scriptedPost([
      answered(503, `no: ${secret}`),
      // Cut in the middle of a character.
      answered(401, `refused ${secret}`),
      answered(400, `${'\n'.repeat(1_500)}${secret}`),
      answered(200, { partialSuccess: { rejectedSpans: '1', errorMessage: `unknown: ${secret}` } }),
    ]);
    const { destination, logger, clock } = open(configFor('clawmetry', { authorization: secret }), {
      traces: echo,
    });
    for (let number = 1; number <= 3; number += 1) {
      destination.accept(emission({ spans: [span({ span_id: spanId(number) })] }));
      await destination.idle();
      expect(destination.problems?.().traces?.message).toMatch(/\[redacted\]$/);
      clock.advance(60_000);
    }
    expect(logger.lines.join()).not.toMatch(/hunter|Bearer h/);
  });
});

describe('a backend that denies the bridge access', () => {
  /** The advice in the log for a destination whose requests all get this status. */
  async function adviceOf(
    config: DestinationConfig,
    status: number,
    saved?: DestinationDependencies['saved'],
  ) {
    const refusing = () => scriptedPost([], answered(status, 'no'));
    const scripts = { traces: refusing(), logs: refusing() };
    const { destination, logger, clock } = open(config, scripts, { saved });
    for (let number = 1; number <= 3; number += 1) {
      destination.accept(emission({ spans: [span({ span_id: spanId(number) })], logs: [log()] }));
      await destination.idle();
      clock.advance(60_000);
    }
    expect(destination.summary()).toMatchObject({ traces: { rejected: { [`http_${status}`]: 3 } } });
    return logger.lines.filter((line) => line.includes('denied access'));
  }
  const with_bearer = (config: DestinationConfig, bearer: Bearer): DestinationConfig => ({
    ...config,
    endpoints: Object.fromEntries(
      Object.entries(config.endpoints).map(([signal, endpoint]) => [signal, { ...endpoint, bearer }]),
    ),
  });

  test("ClawMetry: the log asks once for the gateway's token and, with a store, says how to resend what was refused", async () => {
    const [advice, ...more] = await adviceOf(configFor('clawmetry'), 401, EMPTY_STORE);
    expect(more).toEqual([]);
    expect(advice).toMatch(/^error clawmetry denied access at http:\/\/127\.0\.0\.1:8900.*\(http_401\): /);
    expect(advice).toContain(
      'set the token of its OpenClaw gateway with "bearer: {env: OPENCLAW_GATEWAY_TOKEN}" (or {file: PATH}) for destination clawmetry in the configuration file',
    );
    expect(advice).toContain('with "dead-letters resend"');
  });

  test('another backend: the log asks for its token, and promises nothing without a store', async () => {
    const [advice] = await adviceOf(configFor('collector'), 403);
    expect(advice).toContain('"bearer: {env: NAME}" (or {file: PATH}) for destination collector');
    expect(advice).toContain('OTEL_EXPORTER_OTLP_HEADERS');
    expect(advice).not.toContain('resend');
  });

  test('a refused token: the log says where it came from, and does not contain it', async () => {
    vi.stubEnv('MY_TOKEN', 'hunter2-hunter2');
    const bearer = openBearer({ env: 'MY_TOKEN' }, process.env);
    vi.unstubAllEnvs();
    if ('error' in bearer) throw new Error(bearer.error);
    const advices = await Promise.all([
      adviceOf(with_bearer(configFor('collector'), bearer), 401),
      adviceOf(configFor('collector', { 'x-key': 'hunter2-hunter2' }), 401),
    ]);
    const [[of_bearer], [of_header]] = advices as [[string], [string]];
    expect(of_bearer).toContain(
      'it refused the token in the environment variable MY_TOKEN; replace it with a token that it accepts',
    );
    expect(of_header).toContain(
      'it refused the headers that it was sent (x-key); set a token that it accepts in OTEL_EXPORTER_OTLP_HEADERS',
    );
    expect(advices.join()).not.toContain('hunter2');
  });
});

describe('a backend that redirects', () => {
  test('has its redirect reported in the log, with what to do, and not followed', async () => {
    const redirect: Outcome = {
      kind: 'answered',
      status: 308,
      location: 'https://backend/v1/traces',
      body: Buffer.from(''),
    };
    const { destination, logger } = open(configFor('jaeger'), { traces: scriptedPost([redirect]) });
    destination.accept(emission({ spans: [span()] }));
    await destination.idle();
    expect(destination.summary()).toMatchObject({ traces: { rejected: { http_308: 1 } } });
    expect(logger.lines).toEqual([
      expect.stringMatching(
        /^error jaeger: 1 span rejected permanently \(http_308\): HTTP 308: the redirect to https:\/\/backend\/v1\/traces is not followed; if that is the backend, set its base URL/,
      ),
    ]);
  });
});

test('the proxy is reported at the start, without its credentials', async () => {
  const config = configFor('collector');
  const proxy = { url: 'http://proxy:3128', variable: 'HTTP_PROXY', authorization: 'Basic aHVudGVyMg==' };
  for (const endpoint of Object.values(config.endpoints)) endpoint.proxy = proxy;
  const { logger } = open(config);
  expect(logger.lines).toEqual([
    expect.stringMatching(/^info collector is reached through the proxy http:\/\/proxy:3128 \(HTTP_PROXY\)/),
  ]);
  expect(logger.lines.join()).not.toContain('aHVu');
});

test('durations are not measured with the wall clock, which may be set back or forward by hours', async () => {
  let calls = 0;
  const wall_clock = vi.spyOn(Date, 'now').mockImplementation(() => {
    calls += 1;
    return calls % 2 === 0 ? 0 : 1e13;
  });
  const durations_ms: number[] = [];
  const logger = fakeLogger();
  const destination = openDestination(configFor('jaeger'), {
    ...MACHINE,
    logger,
    memory_limit_bytes: 1024 * 1024,
    onExport: (_, __, duration_ms) => durations_ms.push(duration_ms),
    transport: () => ({ ...scriptedPost([answered(503, '', 1), UNREACHABLE, OK]), close: async () => {} }),
  });
  destination.accept(emission({ spans: [span()] }));
  await destination.idle();
  wall_clock.mockRestore();
  expect(destination.summary()).toMatchObject({ traces: { delivered: 1, pending: 0 } });
  expect(durations_ms).toHaveLength(2);
  expect(Math.max(...durations_ms)).toBeLessThan(3_600_000);
});

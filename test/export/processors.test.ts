/**
 * OpenTelemetry's own processors and readers as a destination: what they get, and how the bridge handles their failures.
 */
import {
  BatchLogRecordProcessor,
  InMemoryLogRecordExporter,
  type LogRecordProcessor,
  SimpleLogRecordProcessor,
} from '@opentelemetry/sdk-logs';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor as OtherBatchSpanProcessor } from '@opentelemetry/sdk-trace';
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createMetrics, toReadableLogRecord, toReadableSpan } from '../../src/export/index.js';
import { createProcessorDestination, type ProcessorsConfig } from '../../src/export/processors.js';
import { PROCESSOR_FAILED } from '../../src/export/reasons.js';
import { createResource } from '../../src/export/resource.js';
import { emission, fakeLogger, log, span, spanId } from './fakes.js';

function open(config: Omit<ProcessorsConfig, 'name'>) {
  const logger = fakeLogger();
  const destination = createProcessorDestination(
    { name: 'otel', ...config },
    { logger, memory_limit_bytes: 64 * 1024 * 1024 },
  );
  return { destination, logger };
}

const spans = (count: number) =>
  Array.from({ length: count }, (_, number) => span({ span_id: spanId(number + 1) }));

/** Takes a turn over each batch, and records the ids. */
function slowExporter() {
  const ids: string[] = [];
  return {
    ids,
    export(batch: ReadableSpan[], onResult: (result: { code: number }) => void) {
      ids.push(...batch.map((each) => each.spanContext().spanId));
      setImmediate(() => onResult({ code: 0 }));
    },
    shutdown: async () => undefined,
    forceFlush: async () => undefined,
  };
}

const nothing = async (): Promise<void> => undefined;

test('a rejection of a processor that should be synchronous is reported, and ends nothing', async () => {
  const reject = () => Promise.reject(new Error('full'));
  const { destination, logger } = open({
    span_processor: { onEnd: reject, forceFlush: nothing, shutdown: nothing },
    log_record_processor: { onEmit: reject, forceFlush: nothing, shutdown: nothing },
  });
  destination.accept(emission({ spans: spans(2), logs: [log()] }));
  await destination.idle();
  await destination.close();
  expect(logger.lines).toEqual([
    expect.stringMatching(/^warn otel: onEnd for traces failed: full/),
    expect.stringMatching(/^warn otel: onEmit for logs failed: full/),
  ]);
});

describe('a span processor', () => {
  test.each([
    ['sdk-trace-base', (exporter: ReturnType<typeof slowExporter>) => new BatchSpanProcessor(exporter)],
    ['sdk-trace', (exporter: ReturnType<typeof slowExporter>) => new OtherBatchSpanProcessor({ exporter })],
  ])('that batches, from %s, loses nothing of many spans at once', async (_, create) => {
    const exporter = slowExporter();
    const { destination } = open({ span_processor: create(exporter) });
    const all = spans(10_000);
    destination.accept(emission({ spans: all }));
    await destination.idle();
    await destination.close();
    expect(exporter.ids).toEqual(all.map((each) => each.span_id));
    expect(destination.summary()).toEqual({
      traces: { produced: 10_000, delivered: 10_000, pending: 0, rejected: {}, dropped: {} },
    });
  });

  test("gets ended spans as OpenTelemetry's types, and never a preview", () => {
    const got: ReadableSpan[] = [];
    const { destination } = open({
      span_processor: { onEnd: (each) => got.push(each), forceFlush: nothing, shutdown: nothing },
    });
    destination.accept(
      emission({ spans: [span()], previews: [span({ span_id: spanId(2) })], corrections: [span()] }),
    );
    expect(got).toHaveLength(1);
    const [{ spanContext, ...first } = expect.fail()] = got;
    const { spanContext: expectedContext, ...expected } = toReadableSpan(span(), createResource());
    expect({ ...first, resource: first.resource.attributes }).toEqual({
      ...expected,
      resource: expected.resource.attributes,
    });
    expect(spanContext()).toEqual(expectedContext());
    expect(spanContext().traceFlags).toBe(1);
  });

  test('that throws is counted and reported, and stops nothing else', async () => {
    const logs = new InMemoryLogRecordExporter();
    const { destination, logger } = open({
      span_processor: {
        onEnd() {
          throw new Error('full');
        },
        forceFlush: () => Promise.reject(new Error('unreachable')),
        shutdown() {
          throw new Error('twice');
        },
      },
      log_record_processor: new SimpleLogRecordProcessor({ exporter: logs }),
    });
    destination.accept(emission({ spans: spans(3), logs: [log()] }));
    await destination.idle();
    expect(logs.getFinishedLogRecords()).toHaveLength(1);
    await destination.close();
    expect(destination.summary().traces).toMatchObject({ produced: 3, rejected: { [PROCESSOR_FAILED]: 3 } });
    expect(destination.problems?.()).toMatchObject({ traces: { message: 'twice' } });
    expect(logger.lines).toEqual([
      expect.stringMatching(
        /^error otel: 1 span rejected permanently \(processor_failed\): the processor threw: full/,
      ),
      expect.stringMatching(/^warn otel: forceFlush for traces failed: unreachable/),
      expect.stringMatching(/^error otel: 2 spans rejected permanently/),
    ]);
  });

  test('keeps the process alive while it is shut down, but not while it is flushed', async () => {
    // Those that do keep it alive.
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const never = () => new Promise<void>(() => undefined);
    let endShutdown = (): void => undefined;
    const shutdown = new Promise<void>((resolve) => {
      endShutdown = resolve;
    });
    const { destination } = open({
      span_processor: { onEnd: () => undefined, forceFlush: never, shutdown: () => shutdown },
    });
    const before = timers();
    void destination.idle();
    expect(timers()).toBe(before);
    const closing = destination.close();
    expect(timers()).toBe(before + 1);
    endShutdown();
    await closing;
  });

  test('that never completes a shutdown is waited for only up to the time limit', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const never = () => new Promise<void>(() => undefined);
    const { destination, logger } = open({
      span_processor: { onEnd: () => undefined, forceFlush: nothing, shutdown: never },
    });
    const closing = destination.close();
    await vi.advanceTimersByTimeAsync(1_000);
    await closing;
    expect(logger.lines).toEqual([
      expect.stringMatching(/^warn otel: shutdown for traces failed: timed out after 1 s/),
    ]);
  });
});

describe('a log record processor', () => {
  test("gets records as OpenTelemetry's types, and may change them", async () => {
    const exporter = new InMemoryLogRecordExporter();
    const inner = new BatchLogRecordProcessor({ exporter });
    const processor: LogRecordProcessor = {
      onEmit(record) {
        record.setAttribute('added', true);
        inner.onEmit(record);
      },
      forceFlush: () => inner.forceFlush(),
      shutdown: () => inner.shutdown(),
    };
    const { destination } = open({ log_record_processor: processor });
    destination.accept(emission({ logs: [log()] }));
    await destination.idle();
    const [record = expect.fail()] = exporter.getFinishedLogRecords();
    const expected = toReadableLogRecord(log(), createResource());
    expect(record).toMatchObject({
      hrTime: expected.hrTime,
      hrTimeObserved: expected.hrTimeObserved,
      spanContext: expected.spanContext,
      severityText: expected.severityText,
      severityNumber: expected.severityNumber,
      eventName: expected.eventName,
      attributes: { ...expected.attributes, added: true },
      instrumentationScope: expected.instrumentationScope,
    });
    expect(record.resource.attributes).toEqual(expected.resource.attributes);
    expect(destination.summary()).toMatchObject({ logs: { delivered: 1 } });
  });

  test('decides itself which records it gets', async () => {
    const onEmit = vi.fn();
    const { destination } = open({
      log_record_processor: {
        onEmit,
        enabled: ({ eventName }) => eventName !== log().event_name,
        forceFlush: nothing,
        shutdown: nothing,
      },
    });
    destination.accept(emission({ logs: [log(), log({ event_name: 'openclaw.other' })] }));
    expect(onEmit).toHaveBeenCalledOnce();
    await destination.close();
  });

  test('that batches loses nothing of many records at once', async () => {
    const exporter = new InMemoryLogRecordExporter();
    const { destination } = open({ log_record_processor: new BatchLogRecordProcessor({ exporter }) });
    const all = Array.from({ length: 10_000 }, (_, number) => log({ ts_ms: number }));
    destination.accept(emission({ logs: all }));
    await destination.idle();
    expect(exporter.getFinishedLogRecords().map(({ hrTime }) => hrTime[0] * 1_000 + hrTime[1] / 1e6)).toEqual(
      all.map(({ ts_ms }) => ts_ms),
    );
  });
});

describe('a metric reader', () => {
  test('collects on its own schedule and when the destination drains; none of its metrics are counted', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const { destination } = open({ metric_reader: new PeriodicExportingMetricReader({ exporter }) });
    const metrics = createMetrics([destination.reader ?? expect.fail()], () => ({
      source: { events: 0, rejected: {} },
      destinations: {},
    }));
    metrics.record([{ instrument: 'openclaw.cost', value: 2, attributes: {} }]);
    await destination.idle();
    const [collected = expect.fail()] = exporter.getMetrics();
    expect(collected.resource.attributes).toEqual(createResource().attributes);
    expect(collected.scopeMetrics[0]?.metrics.map(({ descriptor }) => descriptor.name)).toContain(
      'openclaw.cost',
    );
    expect(destination.summary()).toEqual({});
    expect(destination.pending()).toBe(0);
    await destination.close();
  });
});

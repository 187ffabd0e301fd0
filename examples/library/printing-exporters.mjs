// @ts-check
/** Exporters that print a line for each thing that they get, in place of those that send it somewhere. */

const done = { forceFlush: async () => {}, shutdown: async () => {} };
const taken = { code: 0 };

/** @type {import('@opentelemetry/sdk-trace-node').SpanExporter} */
export const printingSpans = {
  ...done,
  export(spans, onResult) {
    for (const span of spans) {
      const { traceId, spanId } = span.spanContext();
      console.log('span', traceId, span.parentSpanContext?.spanId ?? '-', spanId, span.name);
    }
    onResult(taken);
  },
};

/** @type {import('@opentelemetry/sdk-logs').LogRecordExporter} */
export const printingLogs = {
  ...done,
  export(logs, onResult) {
    for (const { eventName, spanContext } of logs) console.log('log', spanContext?.traceId, eventName);
    onResult(taken);
  },
};

/** @type {import('@opentelemetry/sdk-metrics').PushMetricExporter} */
export const printingMetrics = {
  ...done,
  export({ scopeMetrics }, onResult) {
    for (const { metrics } of scopeMetrics)
      for (const { descriptor, dataPoints } of metrics)
        console.log('metric', descriptor.name, dataPoints.length, 'points');
    onResult(taken);
  },
};

// @ts-check
/**
 * A program that has OpenTelemetry set up already, with an agent inside. The bridge gets the program's own processors, so that
 * the agent's spans, metrics and log records go wherever the program's go; here they are printed. Events come from recordings,
 * and from the program itself, which pushes them while it answers a request: that run is a part of the request's trace.
 *
 *   node examples/library/opentelemetry.mjs [RECORDING…]
 */
import { fileURLToPath } from 'node:url';
import { BatchLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { createBridge } from 'openclaw-otel-bridge';
import { printingLogs, printingMetrics, printingSpans } from './printing-exporters.mjs';

const bundled = fileURLToPath(new URL('../catalog.ndjson', import.meta.url));
const recordings = process.argv.length > 2 ? process.argv.slice(2) : [bundled];

// What a program has. Its exporters are OTLPTraceExporter, OTLPLogExporter and OTLPMetricExporter, or any others.
const span_processor = new BatchSpanProcessor(printingSpans);
const log_record_processor = new BatchLogRecordProcessor({ exporter: printingLogs });
const provider = new NodeTracerProvider({ spanProcessors: [span_processor] });
const tracer = provider.getTracer('shop');

// A reader belongs to one meter provider, so that the bridge has one of its own.
const metric_reader = new PeriodicExportingMetricReader({ exporter: printingMetrics });

const bridge = createBridge({
  sources: [{ kind: 'recordings', paths: recordings }],
  // Beside it may stand what the configuration file takes, such as { preset: 'clawmetry' }.
  destinations: [{ name: 'shop', span_processor, log_record_processor, metric_reader }],
  logger: console,
});
await bridge.start();
await bridge.ended(); // every recording has been read

const request = tracer.startSpan('POST /ask');
const { traceId, spanId } = request.spanContext();
const traceparent = `00-${traceId}-${spanId}-01`;
const run = { session_key: 'agent:shop:ask', run_id: 'ask-1' };
const now = () => ({ ts: Date.now(), ...run });
await bridge.push({ type: 'agent.started', ...now(), traceparent });
await bridge.push({ type: 'tool.call', ...now(), call_id: 'call-1', tool: 'search' });
await bridge.push({ type: 'tool.output', ...now(), call_id: 'call-1' });
await bridge.push({ type: 'agent.finished', ...now(), status: 'ok' });
request.end();

// First the bridge, which gives out what it still holds; the provider's processors are shut down with it.
const counters = await bridge.stop();
await provider.shutdown();
console.log(JSON.stringify(counters));

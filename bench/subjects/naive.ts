/**
 * The naive program, which could be written in an afternoon: readline, zod, a tracer, OpenTelemetry's batch processors and
 * exporters. It sends the same spans under ids of its own and, with `full`, the same log records and counters.
 *
 * Its queues are practically unlimited, so that it loses nothing that it could hold; `default-queue` uses the standard size.
 * It persists nothing, does not wait for parents, and does not recognise repeated events.
 */
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { agentEventSchema, type WireEvent } from '../../src/model/event.js';

const [path, url, ...flags] = process.argv.slice(2);
const is_full = flags.includes('full');
const ENOUGH = 1_000_000;
const is_standard = flags.includes('default-queue');
const queue = is_standard ? {} : { maxQueueSize: ENOUGH };
// Flushing sends everything at once, and drops what exceeds the default limit of 30 requests.
const limit = is_standard ? {} : { concurrencyLimit: ENOUGH };

const spans = new BatchSpanProcessor(new OTLPTraceExporter({ url: `${url}/v1/traces`, ...limit }), queue);
const tracer = new BasicTracerProvider({ spanProcessors: [spans] }).getTracer('naive');
const logs = new BatchLogRecordProcessor({
  exporter: new OTLPLogExporter({ url: `${url}/v1/logs`, ...limit }),
  ...queue,
});
const logger = new LoggerProvider({ processors: [logs] }).getLogger('naive');
const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter({ url: `${url}/v1/metrics` }),
});
const meter = new MeterProvider({ readers: [reader] }).getMeter('naive');

const USAGE = 'gen_ai.client.inference.usage';
const counters = {
  input: meter.createCounter(`${USAGE}.input_tokens`),
  output: meter.createCounter(`${USAGE}.output_tokens`),
  cached: meter.createCounter(`${USAGE}.cache_read.input_tokens`),
  reasoning: meter.createCounter(`${USAGE}.reasoning.output_tokens`),
  cost: meter.createCounter('openclaw.cost'),
};
const histograms = {
  chat: meter.createHistogram('gen_ai.client.inference.duration', { unit: 's' }),
  tool: meter.createHistogram('gen_ai.execute_tool.duration', { unit: 's' }),
  run: meter.createHistogram('gen_ai.invoke_agent.duration', { unit: 's' }),
};

interface Open {
  span: Span;
  context: Context;
  identity: Attributes;
  start_ms: number;
}

interface Run extends Open {
  agent_id: string;
  name: string;
  step_ms: number;
  is_subagent: boolean;
  calls: Map<string, Open & { tool: string }>;
}

const runs = new Map<string, Run>();
const spawns = new Map<string, { context: Context; label: string }>();

type EventOf<T extends WireEvent['type']> = Extract<WireEvent, { type: T }>;

/** The generator writes timestamps as numbers. */
const at = (event: WireEvent): number => Number(event.ts);

function record(event: WireEvent, open: Open, attributes: Attributes = {}, failed = false): void {
  if (!is_full) return;
  const name = event.type === 'tool.output' || event.type === 'tool.error' ? 'tool_result' : event.type;
  logger.emit({
    eventName: `openclaw.${name.replaceAll('.', '_')}`,
    timestamp: at(event),
    severityText: failed ? 'ERROR' : 'INFO',
    severityNumber: failed ? SeverityNumber.ERROR : SeverityNumber.INFO,
    attributes: { ...open.identity, ...attributes },
    context: open.context,
  });
}

const identityOf = ({ session_key, run_id = '', session_id = session_key }: WireEvent): Attributes => ({
  'openclaw.session.key': session_key,
  'openclaw.run.id': run_id,
  'gen_ai.conversation.id': session_id,
});

function open(event: WireEvent, name: string, kind: SpanKind, attributes: Attributes, parent: Context) {
  const span = tracer.startSpan(name, { kind, startTime: at(event), attributes }, parent);
  return { span, context: trace.setSpan(parent, span), start_ms: at(event) };
}

function onStarted(event: EventOf<'agent.started'>): void {
  const spawn = spawns.get(event.run_id);
  spawns.delete(event.run_id);
  const agent_id = event.agent_id ?? 'main';
  const name = spawn?.label ?? agent_id;
  const identity = { 'gen_ai.agent.id': agent_id, 'gen_ai.agent.name': name, ...identityOf(event) };
  const attributes: Attributes = { 'gen_ai.operation.name': 'invoke_agent', ...identity };
  if (event.parent_session_key !== undefined)
    attributes['openclaw.parent_session.key'] = event.parent_session_key;
  if (event.trigger !== undefined) attributes['openclaw.trigger'] = event.trigger;
  if (event.channel !== undefined) attributes['openclaw.channel'] = event.channel;
  const opened = open(
    event,
    `invoke_agent ${name}`,
    SpanKind.INTERNAL,
    attributes,
    spawn?.context ?? ROOT_CONTEXT,
  );
  const run = {
    ...opened,
    identity,
    agent_id,
    name,
    step_ms: at(event),
    is_subagent: spawn !== undefined,
    calls: new Map(),
  };
  runs.set(event.run_id, run);
  record(event, run);
}

function onTokens(event: EventOf<'llm.tokens'>, run: Run): void {
  const { model, provider } = event;
  const span = tracer.startSpan(
    `chat ${model}`,
    {
      kind: SpanKind.CLIENT,
      startTime: run.step_ms,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': provider,
        'gen_ai.request.model': model,
        ...run.identity,
        'gen_ai.usage.input_tokens': event.input_tokens,
        'gen_ai.usage.output_tokens': event.output_tokens,
        'gen_ai.usage.cache_read.input_tokens': event.cache_read_tokens ?? 0,
        'gen_ai.usage.reasoning.output_tokens': event.reasoning_tokens ?? 0,
        'openclaw.cost_usd': event.cost_usd ?? 0,
        'gen_ai.response.id': event.response_id ?? '',
        'gen_ai.response.finish_reasons': [event.finish_reason ?? ''],
      },
    },
    run.context,
  );
  span.end(at(event));
  const chat = { ...run, context: trace.setSpan(run.context, span) };
  record(event, chat, { 'gen_ai.provider.name': provider, 'gen_ai.request.model': model });
  if (is_full) measureTokens(event, run);
}

function measureTokens(event: EventOf<'llm.tokens'>, run: Run): void {
  const labels = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': event.provider,
    'gen_ai.request.model': event.model,
    'gen_ai.agent.name': run.name,
  };
  counters.input.add(event.input_tokens, labels);
  counters.output.add(event.output_tokens, labels);
  counters.cached.add(event.cache_read_tokens ?? 0, labels);
  counters.reasoning.add(event.reasoning_tokens ?? 0, labels);
  counters.cost.add(event.cost_usd ?? 0, labels);
  histograms.chat.record((at(event) - run.step_ms) / 1_000, labels);
}

function onCall(event: EventOf<'tool.call'>, run: Run): void {
  const identity = {
    'gen_ai.tool.name': event.tool,
    'gen_ai.tool.call.id': event.call_id,
    'gen_ai.agent.id': run.agent_id,
    ...identityOf(event),
  };
  const attributes = {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.agent.name': run.name,
    ...identity,
  };
  const opened = open(event, `execute_tool ${event.tool}`, SpanKind.INTERNAL, attributes, run.context);
  const call = { ...opened, identity, tool: event.tool };
  run.calls.set(event.call_id, call);
  record(event, call);
}

function onCallEnd(event: EventOf<'tool.output'> | EventOf<'tool.error'>, run: Run): void {
  const call = run.calls.get(event.call_id);
  if (call === undefined) return;
  if (event.type === 'tool.output' && event.partial) {
    const size = Buffer.byteLength(String(event.output));
    call.span.addEvent('openclaw.tool_output', { 'openclaw.output.size_bytes': size }, at(event));
    return;
  }
  run.calls.delete(event.call_id);
  const exit_code = event.type === 'tool.output' ? event.exit_code : undefined;
  if (exit_code !== undefined) call.span.setAttribute('openclaw.tool.exit_code', exit_code);
  const failure =
    event.type === 'tool.error'
      ? event.error
      : exit_code
        ? { type: 'exit_code', message: `exit code ${exit_code}` }
        : undefined;
  if (failure !== undefined) {
    call.span.setAttribute('error.type', failure.type);
    call.span.setStatus({ code: SpanStatusCode.ERROR, message: failure.message });
  }
  call.span.end(at(event));
  const why = failure === undefined ? {} : { error: failure.message, 'error.type': failure.type };
  const duration_ms = at(event) - call.start_ms;
  record(event, call, { success: failure === undefined, duration_ms, ...why }, failure !== undefined);
  if (!is_full) return;
  histograms.tool.record(duration_ms / 1_000, {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': call.tool,
    'gen_ai.agent.name': run.name,
  });
}

function onSpawned(event: EventOf<'subagent.spawned'>): void {
  const parent = runs.get(event.parent_run_id ?? '');
  const call = parent?.calls.get(event.call_id ?? '');
  if (parent === undefined || call === undefined) return;
  spawns.set(event.run_id ?? '', { context: call.context, label: event.label ?? '' });
  const child = {
    'openclaw.child_session.key': event.session_key,
    'openclaw.child_run.id': event.run_id ?? '',
    'gen_ai.tool.name': call.tool,
    'gen_ai.tool.call.id': event.call_id ?? '',
  };
  record(event, { ...parent, context: call.context }, child);
}

function onFinished(event: EventOf<'agent.finished'>, run: Run): void {
  record(event, run, { success: true });
  run.span.setAttribute('openclaw.stop_reason', event.stop_reason ?? '');
  run.span.end(at(event));
  // For a sub-agent another event follows.
  if (!run.is_subagent) runs.delete(event.run_id);
  if (!is_full) return;
  histograms.run.record((at(event) - run.start_ms) / 1_000, {
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': run.name,
  });
}

function onEvent(event: WireEvent): void {
  if (event.type === 'agent.started') return onStarted(event);
  if (event.type === 'subagent.spawned') return onSpawned(event);
  const run = runs.get(event.run_id);
  if (run === undefined) return;
  switch (event.type) {
    case 'agent.step_started':
      run.step_ms = at(event);
      return record(event, run);
    case 'llm.tokens':
      return onTokens(event, run);
    case 'tool.call':
      return onCall(event, run);
    case 'tool.output':
    case 'tool.error':
      return onCallEnd(event, run);
    case 'agent.finished':
      return onFinished(event, run);
    case 'subagent.finished':
      runs.delete(event.run_id);
      return record(event, run, { success: true });
    default:
      return record(event, run);
  }
}

const flush = (): Promise<unknown> => Promise.allSettled([spans.forceFlush(), logs.forceFlush()]);

const server = createServer((socket) => {
  const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
  lines.on('line', (line) => {
    const result = agentEventSchema.safeParse(JSON.parse(line));
    if (result.success) onEvent(result.data);
  });
  lines.on('close', () => void flush());
});
server.listen(path);

process.on('SIGTERM', async () => {
  await Promise.allSettled([spans.shutdown(), logs.shutdown(), reader.shutdown()]);
  process.exit(0);
});

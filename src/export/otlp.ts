/**
 * Request bodies of OTLP. Spans and log records are many, and are written directly (`otlp/`); metrics are few, and left to
 * OpenTelemetry's own serializers. Also reads the one thing that an answer says: how much of the request was not taken.
 */
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer';
import type { Resource } from '@opentelemetry/resources';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Signal } from '../model/delivery.js';
import type { LogRecord, SpanRecord } from '../model/telemetry.js';
import { createJsonWriter } from './otlp/json.js';
import { createProtobufWriter } from './otlp/protobuf.js';
import type { Encoding } from './presets.js';

/** Request bodies of spans and of log records. */
export interface Encoder {
  encodeSpans(spans: SpanRecord[], encoding: Encoding): Uint8Array;
  encodeLogs(logs: LogRecord[], encoding: Encoding): Uint8Array;
}

/** All that it encodes comes from one resource. */
export function createEncoder(resource: Resource): Encoder {
  const writers = { json: createJsonWriter(resource), protobuf: createProtobufWriter(resource) };
  return {
    encodeSpans: (spans, encoding) => writers[encoding].spans(spans),
    encodeLogs: (logs, encoding) => writers[encoding].logs(logs),
  };
}

export function encodeMetrics(metrics: ResourceMetrics, encoding: Encoding): Uint8Array {
  const serializer = encoding === 'json' ? JsonMetricsSerializer : ProtobufMetricsSerializer;
  const body = serializer.serializeRequest(metrics);
  if (body === undefined) throw new Error('the OTLP serializer gave no body');
  return body;
}

export const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
};

/** The part of a request that the backend did not take. */
export interface PartialSuccess {
  rejected: number;
  message: string;
}

const ANSWER_READERS = {
  traces: { json: JsonTraceSerializer, protobuf: ProtobufTraceSerializer, count: 'rejectedSpans' },
  metrics: { json: JsonMetricsSerializer, protobuf: ProtobufMetricsSerializer, count: 'rejectedDataPoints' },
  logs: { json: JsonLogsSerializer, protobuf: ProtobufLogsSerializer, count: 'rejectedLogRecords' },
} as const;

/** White space and a BOM may come first. Protobuf can begin with a line end and a brace, too, but not go on like this. */
const JSON_OBJECT = /^\s*\{\s*["}]/;

/**
 * What a 200 says was rejected; `undefined` where nothing was. An empty body and one that can't be read mean that all was
 * taken. JSON is told from protobuf by how it begins.
 */
export function readPartialSuccess(signal: Signal, body: Uint8Array): PartialSuccess | undefined {
  const { json, protobuf, count } = ANSWER_READERS[signal];
  const reader = JSON_OBJECT.test(Buffer.from(body).toString()) ? json : protobuf;
  let partial: Record<string, unknown> | null | undefined;
  try {
    partial = reader.deserializeResponse(body)?.partialSuccess as Record<string, unknown> | null | undefined;
  } catch {
    return undefined;
  }
  // JSON writes 64-bit numbers as text.
  const rejected = Number(partial?.[count] ?? 0);
  const message = typeof partial?.errorMessage === 'string' ? partial.errorMessage : '';
  return Number.isFinite(rejected) && rejected > 0 ? { rejected, message } : undefined;
}

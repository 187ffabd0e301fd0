/**
 * Request bodies of OTLP. Spans and log records are many, and are written directly (`otlp/`); metrics are few, and written by
 * OpenTelemetry's own serializers. Also reads from a response how much of the request was rejected.
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

/** Encodes request bodies of spans and log records. */
export interface Encoder {
  encodeSpans(spans: SpanRecord[], encoding: Encoding): Uint8Array;
  encodeLogs(logs: LogRecord[], encoding: Encoding): Uint8Array;
}

/** Creates an encoder for records that all have this resource. */
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
  if (body === undefined) throw new Error('the OTLP serializer returned no body');
  return body;
}

export const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
};

/** What the backend rejected of a request. */
export interface PartialSuccess {
  rejected: number;
  message: string;
}

const ANSWER_READERS = {
  traces: { json: JsonTraceSerializer, protobuf: ProtobufTraceSerializer, count: 'rejectedSpans' },
  metrics: { json: JsonMetricsSerializer, protobuf: ProtobufMetricsSerializer, count: 'rejectedDataPoints' },
  logs: { json: JsonLogsSerializer, protobuf: ProtobufLogsSerializer, count: 'rejectedLogRecords' },
} as const;

/** As an unsigned number, the least of the negative 64-bit numbers. */
const FIRST_NEGATIVE = 2 ** 63;

/** White space and a BOM may come first. Protobuf may begin with a line feed and a brace, too, but does not continue like this. */
const JSON_OBJECT = /^\s*\{\s*["}]/;

/**
 * What a 200 response rejects; `undefined` if nothing. With an empty or unreadable body everything counts as accepted. JSON is
 * distinguished from protobuf by its beginning.
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
  // JSON has 64-bit numbers as strings; the reader of protobuf takes negative ones for huge ones.
  const rejected = Math.trunc(Number(partial?.[count] ?? 0));
  const message = typeof partial?.errorMessage === 'string' ? partial.errorMessage : '';
  return rejected > 0 && rejected < FIRST_NEGATIVE ? { rejected, message } : undefined;
}

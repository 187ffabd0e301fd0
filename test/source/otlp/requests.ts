/**
 * The side of a sender: log records as OpenTelemetry's own serializers write them, and HTTP requests with them.
 */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { LogAttributes } from '@opentelemetry/api-logs';
import { JsonLogsSerializer, ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { Encoding } from '../../../src/source/otlp/answers.js';

/** The records of one resource. */
export interface Sent {
  resource?: Record<string, string | number>;
  records: { body?: unknown; attributes?: Record<string, string | number> }[];
}

const SERIALIZERS = { json: JsonLogsSerializer, protobuf: ProtobufLogsSerializer };
export const ENCODINGS: Encoding[] = ['json', 'protobuf'];

export const TYPES: Record<Encoding, string> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
};

const toRecords = ({ resource = {}, records }: Sent): ReadableLogRecord[] => {
  const common = {
    resource: resourceFromAttributes(resource),
    instrumentationScope: { name: 'test' },
    hrTime: [1, 2] as [number, number],
    hrTimeObserved: [3, 4] as [number, number],
    droppedAttributesCount: 0,
  };
  return records.map(({ body, attributes = {} }) => ({
    ...common,
    attributes: attributes as LogAttributes,
    body: body as ReadableLogRecord['body'],
  }));
};

export const encode = (sent: Sent[], encoding: Encoding): Buffer =>
  Buffer.from(SERIALIZERS[encoding].serializeRequest(sent.flatMap(toRecords)) ?? []);

/** One resource with one record for each of these bodies. */
export const bodies = (...all: unknown[]): Sent[] => [{ records: all.map((body) => ({ body })) }];

export interface Told {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** The decoded body of a 200 response, in either encoding. */
export const readTaken = ({ headers, body }: Told): unknown =>
  SERIALIZERS[headers['content-type'] === TYPES.json ? 'json' : 'protobuf'].deserializeResponse(body);

export interface Post extends RequestOptions {
  url: string;
  body?: Buffer;
}

/** Sends one request on a connection of its own. */
export function send({ url, body, ...options }: Post): Promise<Told> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method: 'POST', agent: false, ...options }, (response) => {
      buffer(response).then(
        (answer) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer }),
        reject,
      );
    });
    request.on('error', reject).end(body);
  });
}

export const post = (url: string, sent: Sent[], encoding: Encoding = 'json'): Promise<Told> =>
  send({ url, body: encode(sent, encoding), headers: { 'content-type': TYPES[encoding] } });

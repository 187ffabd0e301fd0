/**
 * How a sender is answered: OTLP's own responses, in the encoding of the request. A sender retries after 429, 503 or no answer;
 * every other refusal is final to it.
 */
import { PbfWriter } from 'pbf';

export type Encoding = 'json' | 'protobuf';

export const CONTENT_TYPES: Record<Encoding, string> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
};

/** The code of `google.rpc.Status` that corresponds to an HTTP status. */
const RPC_CODES = { 400: 3, 404: 5, 405: 12, 413: 8, 415: 3, 429: 8, 503: 14 } as const;

/** Why a request is refused. */
export interface Refusal {
  status: keyof typeof RPC_CODES;
  message: string;
}

/** The request was accepted, except for `rejected` of its records. */
export interface Taken {
  rejected: number;
  message: string;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** Further response headers, by status. `retry-after` is in seconds. */
const HEADERS: Partial<Record<Refusal['status'], Record<string, string>>> = {
  405: { allow: 'POST' },
  415: { 'accept-encoding': 'gzip' },
  429: { 'retry-after': '1' },
  503: { 'retry-after': '1', connection: 'close' },
};

export const refuse = (status: Refusal['status'], message: string): Refusal => ({ status, message });

/** Whether the sender drops what was refused with this status. */
export const isFinal = ({ status }: Refusal): boolean => ![429, 503].includes(status);

export function answerTo(outcome: Refusal | Taken, encoding: Encoding): Answer {
  const content_type = { 'content-type': CONTENT_TYPES[encoding] };
  if ('rejected' in outcome)
    return { status: 200, headers: content_type, body: writeTaken(outcome, encoding) };
  const { status, message } = outcome;
  const body = writeStatus({ code: RPC_CODES[status], message }, encoding);
  return { status, headers: { ...content_type, ...HEADERS[status] }, body };
}

/** Encodes a `google.rpc.Status`. */
function writeStatus(status: { code: number; message: string }, encoding: Encoding): string | Uint8Array {
  if (encoding === 'json') return JSON.stringify(status);
  const pbf = new PbfWriter();
  pbf.writeVarintField(1, status.code);
  pbf.writeStringField(2, status.message);
  return pbf.finish();
}

/** Encodes an `ExportLogsServiceResponse`; empty if nothing was rejected. */
function writeTaken(taken: Taken, encoding: Encoding): string | Uint8Array {
  const { rejected, message } = taken;
  // OTLP's JSON has 64-bit integers as strings.
  const partial = { rejectedLogRecords: String(rejected), errorMessage: message };
  if (encoding === 'json') return JSON.stringify(rejected > 0 ? { partialSuccess: partial } : {});
  const pbf = new PbfWriter();
  if (rejected > 0) pbf.writeMessage(1, writePartialSuccess, taken);
  return pbf.finish();
}

function writePartialSuccess({ rejected, message }: Taken, pbf: PbfWriter): void {
  pbf.writeVarintField(1, rejected);
  pbf.writeStringField(2, message);
}

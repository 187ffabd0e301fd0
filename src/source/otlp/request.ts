/**
 * From the bytes of a request to its log records, within limits: decompressed no further than the limit, and decoded whole or
 * refused.
 */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { errorCode } from '../../util/errors.js';
import { type Encoding, type Refusal, refuse } from './answers.js';
import { readJson } from './json.js';
import { readProtobuf } from './protobuf.js';
import type { SentRecord } from './record.js';

/** Each record costs memory in addition to its bytes, of which it may have almost none. */
export const MAX_RECORDS = 100_000;

const READERS = { json: readJson, protobuf: readProtobuf };

export const tooLarge = (max_bytes: number): Refusal =>
  refuse(413, `the request is larger than ${max_bytes} bytes; send fewer log records per request`);

const unzip = promisify(gunzip);

/** Decompresses a body within the limit: a small body may become a large one. */
export async function unpack(body: Buffer, max_bytes: number): Promise<Buffer | Refusal> {
  try {
    return await unzip(body, { maxOutputLength: max_bytes });
  } catch (error) {
    if (errorCode(error) === 'ERR_BUFFER_TOO_LARGE') return tooLarge(max_bytes);
    return refuse(400, 'the content-encoding is gzip, but the body is not valid gzip data');
  }
}

export function decode(bytes: Buffer, encoding: Encoding): SentRecord[] | Refusal {
  const records: SentRecord[] = [];
  let count = 0;
  const problem = READERS[encoding](bytes, (record) => {
    count += 1;
    if (count <= MAX_RECORDS) records.push(record);
  });
  if (problem !== undefined)
    return refuse(400, `the body is not an OTLP ExportLogsServiceRequest in ${encoding}: ${problem}`);
  if (count > MAX_RECORDS)
    return refuse(413, `the request has more than ${MAX_RECORDS} log records; send fewer per request`);
  return records;
}

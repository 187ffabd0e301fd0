/**
 * The HTTP side: which requests can be accepted, as far as their headers show, and reading a body within limits.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorCode } from '../../util/errors.js';
import { type Answer, CONTENT_TYPES, type Encoding, type Refusal, refuse } from './answers.js';
import { tooLarge } from './request.js';

export const PATH = '/v1/logs';
const OTHER_SIGNALS: readonly string[] = ['/v1/traces', '/v1/metrics'];

/** What the headers of an acceptable request say about its body. */
export interface Head {
  encoding: Encoding;
  is_packed: boolean;
}

/** Ignores parameters: `application/json; charset=utf-8` is JSON. */
export function encodingOf({ headers }: IncomingMessage): Encoding | undefined {
  const [type = ''] = (headers['content-type'] ?? '').toLowerCase().split(';', 1);
  return (['json', 'protobuf'] as const).find((encoding) => CONTENT_TYPES[encoding] === type.trim());
}

export function readHead(request: IncomingMessage, max_bytes: number): Head | Refusal {
  const [path = ''] = (request.url ?? '').split('?', 1);
  if (OTHER_SIGNALS.includes(path))
    return refuse(404, `only log records with events as bodies are accepted; send them to ${PATH}`);
  if (path !== PATH) return refuse(404, `unknown path; send log records to ${PATH}`);
  if (request.method !== 'POST') return refuse(405, 'the method must be POST');
  const encoding = encodingOf(request);
  if (encoding === undefined)
    return refuse(415, `the content-type must be ${Object.values(CONTENT_TYPES).join(' or ')}`);
  const coding = request.headers['content-encoding']?.trim().toLowerCase() || 'identity';
  if (!['identity', 'gzip'].includes(coding))
    return refuse(415, 'the content-encoding must be gzip, or none');
  if (Number(request.headers['content-length'] ?? 0) > max_bytes) return tooLarge(max_bytes);
  return { encoding, is_packed: coding === 'gzip' };
}

/** Reads a body to its end, or until `take` returns a reason to refuse it. */
export function readBody(
  request: IncomingMessage,
  take: (bytes: number) => Refusal | undefined,
): Promise<Buffer | Refusal> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const drop = (refusal: Refusal): void => {
      // The sender may read the response only after it has sent everything, so the rest is read and discarded.
      request.removeAllListeners('data').resume();
      chunks.length = 0;
      resolve(refusal);
    };
    request.on('data', (chunk: Buffer) => {
      const refusal = take(chunk.length);
      if (refusal === undefined) chunks.push(chunk);
      else drop(refusal);
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    // Nobody is left to receive the response.
    for (const event of ['error', 'close'])
      request.on(event, () =>
        resolve(refuse(503, 'the connection was closed before the request was complete')),
      );
  });
}

/** Answers 400 to what is not HTTP. A request that is too slow gets no answer: a sender would drop what was answered by 408. */
export function onClientError(error: Error, socket: Duplex): void {
  const is_slow = errorCode(error) === 'ERR_HTTP_REQUEST_TIMEOUT';
  if (socket.writable && !is_slow) socket.write('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
  socket.destroy();
}

/** Sends a response; resolves when it has been sent, or its connection is gone. */
export function respond({ status, headers, body }: Answer, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve();
    response.once('finish', resolve).once('close', resolve);
    response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
  });
}

/**
 * The gateway's wire format: JSON text frames over a WebSocket, requests that are answered by id, and pushed events with a
 * sequence number that counts up within one connection.
 */
import { isObject, type Json, object, text } from '../../../util/json.js';

export interface ResponseFrame {
  type: 'res';
  id: string;
  ok: boolean;
  payload?: unknown;
  error?: GatewayError;
}

export interface EventFrame {
  type: 'event';
  event: string;
  payload: unknown;
  /** Absent on the challenge. */
  seq?: number;
}

export type Frame = ResponseFrame | EventFrame;

/** Why the gateway refuses a request; `details.code` is the more specific of the two codes. */
export interface GatewayError {
  code: string;
  message: string;
  details: Json;
}

const errorOf = (value: Json): GatewayError => ({
  code: text(value.code) ?? 'UNKNOWN',
  message: text(value.message) ?? 'no reason given',
  details: isObject(value.details) ? value.details : {},
});

/** Parses a frame; undefined if it is not one that a client uses. */
export function readFrame(json: string): Frame | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  if (value.type === 'res' && typeof value.id === 'string') {
    const { id, payload, error } = value;
    return {
      type: 'res',
      id,
      ok: value.ok === true,
      payload,
      ...(isObject(error) ? { error: errorOf(error) } : {}),
    };
  }
  if (value.type !== 'event' || typeof value.event !== 'string') return undefined;
  const { event, payload, seq } = value;
  return { type: 'event', event, payload, ...(typeof seq === 'number' ? { seq } : {}) };
}

/**
 * Whether an agent event with this payload is the last one of its run. The only event of a run that never began is not marked, and
 * before OpenClaw 2026.9 none is.
 */
export function endsRun({ stream, seq, data }: Json): boolean {
  const { executionSettled, phase, aborted } = object(data);
  if (stream !== 'lifecycle') return false;
  const isEnd = phase === 'end' || phase === 'error';
  // An abort is announced as an end, and followed by an error.
  const isLast = aborted === false || (aborted === true && phase === 'error');
  return executionSettled === true || (isEnd && isLast) || (seq === 1 && phase === 'end');
}

export const request = (id: string, method: string, params: Json): string =>
  JSON.stringify({ type: 'req', id, method, params });

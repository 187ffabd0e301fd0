/**
 * Ids are derived from the identity that an event states, so the same events give the same ids after a restart, on another
 * replica and in a replay. Each part is framed by its length: "1" + "23" is not "12" + "3".
 */
import { hash } from 'node:crypto';

const LENGTH_BYTES = 4;

/** Lengths below this have the same 4 bytes as UTF-8 text; nearly all parts are this short. */
const SHORT_BYTES = 0x80;
const SHORT_LENGTHS = Array.from(
  { length: SHORT_BYTES },
  (_, length) => `\0\0\0${String.fromCharCode(length)}`,
);

/** 4 bytes of big-endian length, then the UTF-8 bytes, for each part. */
function frame(parts: readonly string[]): string | Buffer {
  let framed = '';
  for (const part of parts) {
    const length = SHORT_LENGTHS[Buffer.byteLength(part)];
    if (length === undefined) return frameLong(parts);
    framed += length + part;
  }
  return framed;
}

function frameLong(parts: readonly string[]): Buffer {
  const framed = Buffer.allocUnsafe(
    parts.reduce((bytes, part) => bytes + LENGTH_BYTES + Buffer.byteLength(part), 0),
  );
  let at = 0;
  for (const part of parts) {
    const bytes = framed.write(part, at + LENGTH_BYTES);
    at = framed.writeUInt32BE(bytes, at) + bytes;
  }
  return framed;
}

const HEX = Buffer.from('0123456789abcdef');
/** The two hex digits of each byte. */
const HIGH_DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => HEX[byte >> 4] ?? 0);
const LOW_DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => HEX[byte & 0x0f] ?? 0);

/**
 * The first 8 bytes of a digest as 16 hex digits. The string is built digit by digit: a slice of a longer one would keep all of
 * that in memory for as long as the id is remembered.
 */
function spanDigits(bytes: string): string {
  const code = (digits: Uint8Array, at: number): number => digits[bytes.charCodeAt(at)] ?? 0;
  return String.fromCharCode(
    code(HIGH_DIGITS, 0),
    code(LOW_DIGITS, 0),
    code(HIGH_DIGITS, 1),
    code(LOW_DIGITS, 1),
    code(HIGH_DIGITS, 2),
    code(LOW_DIGITS, 2),
    code(HIGH_DIGITS, 3),
    code(LOW_DIGITS, 3),
    code(HIGH_DIGITS, 4),
    code(LOW_DIGITS, 4),
    code(HIGH_DIGITS, 5),
    code(LOW_DIGITS, 5),
    code(HIGH_DIGITS, 6),
    code(LOW_DIGITS, 6),
    code(HIGH_DIGITS, 7),
    code(LOW_DIGITS, 7),
  );
}

/** The digest's bytes, each as the character with that code. */
const digest = (parts: readonly string[]): string => hash('sha256', frame(parts), 'binary');

/** OpenTelemetry reads an all-zero id as "none", so it is never used. */
const orOne = (id: string): string => (/[^0]/.test(id) ? id : `${id.slice(0, -1)}1`);

/** Reused for every trace id: it takes as many bytes of a digest as an id has. */
const trace_bytes = Buffer.alloc(16);

/** 32 hex digits, from the identity of the trace's root run. */
export function deriveTraceId(root_session_key: string, root_run_id: string): string {
  trace_bytes.write(digest(['trace', root_session_key, root_run_id]), 'latin1');
  return orOne(trace_bytes.toString('hex'));
}

type SpanIdKind = 'run' | 'tool' | 'chat';

/** The input of a span id, and the id. */
interface Derived {
  kind: SpanIdKind;
  session_key: string;
  run_id: string;
  own_id: string;
  span_id: string;
}

const PLACES = 256;
/** A direct-mapped cache: consecutive events derive the same ids. */
const derived: (Derived | undefined)[] = new Array(PLACES).fill(undefined);
/** Longer inputs are not cached: they would take too much memory. */
const MAX_KEPT_LENGTH = 1_024;

/** The slot comes from the last characters, where ids differ most. */
function placeOf(kind: SpanIdKind, id: string): number {
  const last = id.length - 1;
  return (
    (kind.charCodeAt(0) ^
      id.charCodeAt(last) ^
      (id.charCodeAt(last - 1) << 3) ^
      (id.charCodeAt(last - 2) << 5)) %
    PLACES
  );
}

/** 16 hex digits. `own_id`: empty for a run, the call id for a tool, the response, message or step id for a chat. */
export function deriveSpanId(kind: SpanIdKind, session_key: string, run_id: string, own_id: string): string {
  const place = placeOf(kind, own_id || run_id);
  const known = derived[place];
  if (
    known !== undefined &&
    known.kind === kind &&
    known.own_id === own_id &&
    known.run_id === run_id &&
    known.session_key === session_key
  )
    return known.span_id;
  const span_id = orOne(spanDigits(digest([kind, session_key, run_id, own_id])));
  if (session_key.length + run_id.length + own_id.length <= MAX_KEPT_LENGTH)
    derived[place] = { kind, session_key, run_id, own_id, span_id };
  return span_id;
}

/** The key of a run: its span's id. */
export const runKey = (session_key: string, run_id: string): string =>
  deriveSpanId('run', session_key, run_id, '');

/** Identifies a run. */
interface RunIdentity {
  session_key: string;
  run_id: string;
}

export const callSpanId = ({ session_key, run_id }: RunIdentity, call_id: string): string =>
  deriveSpanId('tool', session_key, run_id, call_id);

/** `own_id`: the call's response or message id, else the number of its step. */
export const chatSpanId = ({ session_key, run_id }: RunIdentity, own_id: string): string =>
  deriveSpanId('chat', session_key, run_id, own_id);

/** The version, both ids, and what only a later version than 00 may append. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/** Reads a W3C `traceparent` of any version; an invalid one is ignored. Both are what the specification requires. */
export function parseTraceparent(
  value: string | undefined,
): { trace_id: string; span_id: string } | undefined {
  const match = TRACEPARENT.exec(value ?? '');
  const [, version, trace_id, span_id, more] = match ?? [];
  if (trace_id === undefined || span_id === undefined) return undefined;
  if (version === '00' && more !== undefined) return undefined;
  return /[^0]/.test(trace_id) && /[^0]/.test(span_id) ? { trace_id, span_id } : undefined;
}

/**
 * The contract of a decoder: a pure state machine that turns the JSON values of one wire format ("dialect") into catalog
 * events. What it cannot use is data too: ignored with a reason, or rejected with the field and what is wrong with it.
 */
import type { z } from 'zod';
import type { BoundedMap } from '../capture/bounded.js';
import { type AgentEvent, agentEventSchema, normaliseInstants } from '../model/event.js';
import { isPlainEvent } from '../model/guard.js';
import { isObject } from '../util/json.js';

/** Why a line was rejected; the counters have these names. */
export type RejectReason =
  | 'invalid_utf8'
  | 'invalid_json'
  | 'not_an_object'
  | 'invalid_event'
  | 'invalid_frame'
  | 'line_too_long'
  | 'line_incomplete';

/** What is wrong with a line. */
export interface Rejection {
  reason: RejectReason;
  /** The field, in dotted form; empty for the line as a whole. */
  path: string;
  message: string;
  /** Other faults of the same event. */
  more?: Fault[];
}

type Fault = Pick<Rejection, 'path' | 'message'>;

/** The result of decoding one line. */
export interface Decoded {
  events: AgentEvent[];
  /** Why a well-formed line gave no event: `unknown_type`, `frame.tick`, … */
  ignored?: string;
  /** What was wrong. Other events of the same line may still be valid. */
  rejected?: Rejection;
}

/** What a decoder remembers, to be persisted between two starts. */
export interface DecoderMemory {
  /** Maps, by the names that they have in the records. */
  maps?: Record<string, BoundedMap<unknown>>;
  /** Plain data that is changed in place. */
  state?: { save(): unknown; restore(saved: unknown): void };
}

export interface Decoder {
  /** `arrival_ms`: when the line was read, epoch milliseconds; a recording's own arrival times take precedence. */
  decode(value: Record<string, unknown>, arrival_ms: number): Decoded;
  /** The stream has ended: returns the events that were held for a following line. */
  end(): AgentEvent[];
  /** Absent if it remembers nothing. */
  memory?: DecoderMemory;
}

/** Maximum number of faults that are reported for an event. */
const MAX_FAULTS = 20;

export const ignore = (reason: string): Decoded => ({ events: [], ignored: reason });

export const reject = (reason: RejectReason, path: string, message: string): Decoded => ({
  events: [],
  rejected: { reason, path, message },
});

const isMissing = (candidate: unknown, path: PropertyKey[]): boolean =>
  path.reduce<unknown>((value, key) => (isObject(value) ? value[String(key)] : undefined), candidate) ===
  undefined;

function describe(issue: z.core.$ZodIssue, candidate: unknown, place: string): Fault {
  const message = isMissing(candidate, issue.path)
    ? 'missing'
    : issue.message.replace(/^Invalid input: /, '');
  return { path: [place, ...issue.path.map(String)].filter(Boolean).join('.'), message };
}

/** The faults of a candidate, one per field: if a field is not text at all, its length is not reported as well. */
function faultsOf(issues: z.core.$ZodIssue[], candidate: unknown, place: string): Fault[] {
  const faults = new Map<string, Fault>();
  for (const issue of issues) {
    const fault = describe(issue, candidate, place);
    if (!faults.has(fault.path)) faults.set(fault.path, fault);
  }
  return [...faults.values()].slice(0, MAX_FAULTS);
}

function removeAbsent(fields: Record<string, unknown>): void {
  for (const key of Object.keys(fields)) {
    if (fields[key] === null || fields[key] === undefined) delete fields[key];
  }
}

/** A possible event: as a line has it, or as a decoder has made it. */
export type Candidate = Record<string, unknown>;

/**
 * Checks a candidate against the catalog. Many producers write null for an absent field, so null counts as absent. `place`
 * prefixes the path if the candidate is not the line itself.
 */
export function checkEvent(candidate: Candidate, place = ''): Decoded {
  if (isPlainEvent(candidate)) return { events: [candidate] };
  removeAbsent(candidate);
  if (isObject(candidate.error)) removeAbsent(candidate.error);
  if (isPlainEvent(candidate)) return { events: [candidate] };
  const result = agentEventSchema.safeParse(candidate);
  if (result.success) return { events: [normaliseInstants(result.data)] };
  const [first = { path: place, message: 'invalid' }, ...more] = faultsOf(
    result.error.issues,
    candidate,
    place,
  );
  return {
    events: [],
    rejected: { reason: 'invalid_event', ...first, ...(more.length > 0 ? { more } : {}) },
  };
}

/** Checks several candidates: the valid ones are returned even if another is rejected. */
export function checkEvents(candidates: Candidate[], place: string): Decoded {
  const decoded: Decoded = { events: [] };
  for (const candidate of candidates) {
    const { events, rejected } = checkEvent(candidate, place);
    decoded.events.push(...events);
    if (rejected) decoded.rejected ??= rejected;
  }
  return decoded;
}

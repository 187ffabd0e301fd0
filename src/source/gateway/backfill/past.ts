/**
 * Turns a gateway's answers about all sessions into the lines to emit, in the order of events.
 */
import { type Json, object } from '../../../util/json.js';
import { reasoningRow } from '../reasoning.js';
import type { Asked, SessionAnswers } from './answers.js';
import type { OpenRun, RebuildOptions } from './facts.js';
import { rebuiltLine, rowsLine } from './lines.js';
import { rebuildFrames } from './rebuild.js';

interface PastEvent {
  ts_ms: number;
  payload: Json;
  line: string;
}

export interface Past {
  events: PastEvent[];
  /** Rows with reasoning tokens, one line per session. */
  rows: string[];
  /** Sessions of which the gateway stores more later. */
  pending: string[];
  /** Sessions with a run whose end is stored later. */
  unended: string[];
  /** Sessions that could not be recovered completely; true if it is not known which. */
  unknown: true | string[];
}

export interface PastOptions extends Omit<RebuildOptions, 'open_run'> {
  /** The run of each session that was open when the gap began. */
  open_runs: Readonly<Record<string, OpenRun>>;
}

/** Reasoning tokens that were still wanted when the connection broke are of calls up to this much older than the gap. */
const REASONING_MARGIN_MS = 60_000;

/** Rows of model calls that may have been seen without their reasoning tokens. */
const reasonedRows = ({ rows }: SessionAnswers, since_ms: number): Json[] =>
  rows
    .filter(
      ({ role, usage, __openclaw }) =>
        role === 'assistant' &&
        object(usage).reasoningTokens !== undefined &&
        Number(object(__openclaw).recordTimestampMs) >= since_ms,
    )
    .map(reasoningRow);

interface PastSession {
  events: PastEvent[];
  reasoned: Json[];
  is_pending: boolean;
  is_unended: boolean;
}

/** Undefined if the answers can't be used: JSON that can be parsed may be nested too deep to be serialised. */
function rebuildSession(answers: SessionAnswers, options: RebuildOptions): PastSession | undefined {
  try {
    const { frames, is_pending, is_unended } = rebuildFrames(answers, options);
    const events = frames.map((frame) => ({
      ts_ms: frame.ts_ms,
      payload: frame.payload,
      line: rebuiltLine(frame),
    }));
    const { since_ms, floor_ms } = options;
    const reasoned = reasonedRows(answers, Math.max(floor_ms, since_ms - REASONING_MARGIN_MS));
    return { events, reasoned, is_pending, is_unended };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

export function rebuildPast({ sessions, is_partial }: Asked, { open_runs, ...options }: PastOptions): Past {
  const events: PastEvent[] = [];
  const rows: string[] = [];
  const pending: string[] = [];
  const unended: string[] = [];
  const partial: string[] = [];
  for (const answers of sessions) {
    const { key } = answers;
    const rebuilt = rebuildSession(answers, { ...options, open_run: open_runs[key] });
    if (rebuilt === undefined || answers.is_partial) partial.push(key);
    if (rebuilt === undefined) continue;
    for (const event of rebuilt.events) events.push(event);
    if (rebuilt.reasoned.length > 0) rows.push(rowsLine(rebuilt.reasoned));
    if (rebuilt.is_pending) pending.push(key);
    if (rebuilt.is_unended) unended.push(key);
  }
  // Events of different sessions are sorted too, so that a parent comes before its child.
  events.sort((a, b) => a.ts_ms - b.ts_ms);
  return { events, rows, pending, unended, unknown: is_partial || partial };
}

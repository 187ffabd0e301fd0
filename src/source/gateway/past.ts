/**
 * From a gateway's answers about all sessions to what is given out of them, in the order in which it happened. Pure.
 */
import { type Json, object } from '../../json.js';
import type { Asked, SessionAnswers } from './answers.js';
import type { OpenRun } from './facts.js';
import { rebuiltLine, rowsLine } from './lines.js';
import { reasoningRow } from './reasoning.js';
import { type RebuiltFrame, rebuildFrames } from './rebuild.js';

export interface Past {
  frames: RebuiltFrame[];
  /** Of the frames, and of the rows that tell of reasoning tokens. */
  lines: string[];
  /** Sessions of which more is written down later. */
  pending: string[];
}

export interface PastOptions {
  since_ms: number;
  /** What came after this was pushed. */
  until_ms: number;
  /** Nothing from before this is wanted. */
  floor_ms: number;
  /** By session: the run that went on when the gap began. */
  open_runs: Readonly<Record<string, OpenRun>>;
  /** The gateway that ran those is gone. */
  is_restarted: boolean;
}

/** Reasoning that was being asked for when the connection broke is of calls up to this much older than the gap. */
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

export function rebuildPast({ sessions }: Asked, { open_runs, ...times }: PastOptions): Past {
  const { since_ms, floor_ms } = times;
  const past: Past = { frames: [], lines: [], pending: [] };
  for (const answers of sessions) {
    const { frames, is_pending } = rebuildFrames(answers, { ...times, open_run: open_runs[answers.key] });
    past.frames.push(...frames);
    if (is_pending) past.pending.push(answers.key);
  }
  // Between sessions too the order is that in which it happened: a parent before its child.
  for (const frame of past.frames.sort((a, b) => a.ts_ms - b.ts_ms)) past.lines.push(rebuiltLine(frame));
  for (const answers of sessions) {
    const rows = reasonedRows(answers, Math.max(floor_ms, since_ms - REASONING_MARGIN_MS));
    if (rows.length > 0) past.lines.push(rowsLine(rows));
  }
  return past;
}

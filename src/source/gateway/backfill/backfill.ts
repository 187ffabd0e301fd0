/**
 * Backfills what is missing from the event stream: what was missed while no connection was open, frames that the gateway
 * dropped, and what it stores late. Events that are pushed while the gateway is being asked are held back until the answers
 * have been emitted.
 */
import { counted } from '../../../util/counted.js';
import { errorReason } from '../../../util/errors.js';
import { type Json, object, text } from '../../../util/json.js';
import type { Connection } from '../connection/connection.js';
import { type EventFrame, endsRun } from '../connection/frames.js';
import type { Gate } from '../gate.js';
import type { OpenRuns } from '../open-runs.js';
import type { GatewayPosition, Progress } from '../position.js';
import { type Asked, askForMissed } from './answers.js';
import { createGaps, type Gap } from './gap.js';
import { missedLine } from './lines.js';
import { type Past, rebuildPast } from './past.js';

export interface Backfill {
  /** Everything from now on is pushed: asks for what is missing from before. */
  start(): void;
  /** Frames were dropped before the current one. */
  drop(): void;
  /** Checks a pushed frame for a session to ask about: its late data may be stored by now, or a run in it was not seen. */
  see(frame: EventFrame): void;
  /** Asks again what has happened in a session since `since_ms`. */
  askAbout(session_key: string, since_ms: number): void;
  /** Whether there is a gap that has not been filled yet. */
  isBehind(): boolean;
  /** Forgets what is missing and what was to be asked: this is another OpenClaw. */
  forget(): void;
  /** The connection has ended: the held events are missing, and so is everything that is pushed until the next connection. */
  lose(reason: string): void;
}

export interface BackfillOptions {
  stream: string;
  resume: GatewayPosition | undefined;
  runs: OpenRuns;
  progress: Progress;
  gate: Gate;
  /** The open connection, if any. */
  connection(): Connection | undefined;
  /** Epoch milliseconds by the gateway's clock. */
  now(): number;
  /** Emits a backfilled line, which is not held back. */
  add(line: string): void;
  /** Reports a message to the user. */
  reportStatus(message: string, is_behind: boolean): Promise<void>;
  /** Called when events have been held back for long, and with false when they are no longer held back. */
  reportHeldBack(is_behind: boolean): void;
}

/** Events may be held back this long unreported: much less than model calls wait for their messages. */
const HELD_BACK_MS = 1_000;

/** By then the audit log has the end of a run that did not succeed: OpenClaw writes it 15 s late. */
const END_STORED_MS = 16_000;

/** Maximum number of sessions of which more data is expected. */
const MAX_PENDING = 1_000;

/** Notes that a session has to be asked about again, from a time on; over the limit the one noted first is forgotten. */
function note(sessions: Map<string, number>, key: string, since_ms: number): void {
  sessions.set(key, Math.min(since_ms, sessions.get(key) ?? Infinity));
  const [oldest = key] = sessions.keys();
  if (sessions.size > MAX_PENDING) sessions.delete(oldest);
}

/** The session in which a call may just have been stored. */
const settledSession = ({ event, payload }: EventFrame): string | undefined => {
  const content = object(payload);
  return event === 'session.message' || endsRun(content) ? text(content.sessionKey) : undefined;
};

/** The message to the user about a gap that has been asked about. */
function describeFilled(
  stream: string,
  { reason, since_ms }: Gap,
  sessions: number,
  past: Past,
  now_ms: number,
): string {
  const seconds = Math.max(0, (now_ms - since_ms) / 1000).toFixed(1);
  const found = `${counted(past.events.length, 'event')} in ${counted(sessions, 'session')}`;
  const rest =
    past.unknown === true || past.unknown.length > 0
      ? '; not everything could be recovered: affected runs have openclaw.gap=true'
      : '';
  return `backfilled a gap of ${seconds} s (${reason.replaceAll('_', ' ')}) from ${stream}: ${found}${rest}`;
}

export function createBackfill(options: BackfillOptions): Backfill {
  const { stream, runs, progress, gate, connection, now, add, reportStatus, reportHeldBack } = options;
  const gaps = createGaps(options.resume, progress, runs.open);
  /** The connection on which a backfill is running. */
  let asking: Connection | undefined;
  /** Sessions to ask about again when the gateway has stored more of them, with the time to ask from, in epoch milliseconds. */
  const pending = new Map<string, number>();
  /** Pending sessions to ask about now. While the gateway is being asked also others, since the answers may make those pending. */
  const settled = new Set<string>();
  /** Sessions that are being asked about. They are no longer pending: whatever makes them so now may not be in the answers. */
  let questioned = new Map<string, number>();
  /** Sessions with a run whose end is not stored yet, with the time to ask from, in epoch milliseconds. */
  const unended = new Map<string, number>();
  let askUnended: NodeJS.Timeout | undefined;
  let reportLater: NodeJS.Timeout | undefined;
  let is_reported = false;
  /** The time since which everything has been pushed. */
  let live_since_ms = 0;
  /** The start of the earliest gap that this connection has been asked about; undefined before the first question. */
  let asked_since_ms: number | undefined;

  const isBehind = (): boolean => gaps.missing() !== undefined;

  function rebuild(asked: Asked, { since_ms, open_runs }: Gap, is_restarted: boolean): Past {
    const floor_ms = progress.last()?.first_ms ?? since_ms;
    const times = { since_ms, until_ms: live_since_ms, floor_ms };
    return rebuildPast(asked, { ...times, open_runs, is_restarted });
  }

  const expectMore = (key: string, since_ms: number): void => note(pending, key, since_ms);

  /** Asks once more about the sessions with a run whose end is not stored yet, when it is. */
  function expectEnds(): void {
    clearTimeout(askUnended);
    if (unended.size === 0) return;
    askUnended = setTimeout(() => {
      for (const [key, since_ms] of unended) askAbout(key, since_ms);
      unended.clear();
    }, END_STORED_MS);
  }

  /** Ends a question: of the settled sessions, only pending ones remain. */
  function endAsking(): void {
    questioned = new Map();
    for (const key of settled) if (!pending.has(key)) settled.delete(key);
  }

  function emitPast(past: Past): void {
    for (const { payload } of past.events) {
      runs.see(payload);
      runs.seeCall(payload);
    }
    for (const { line } of past.events) add(line);
    for (const line of past.rows) add(line);
  }

  async function fillGap(open: Connection, missing: Gap): Promise<void> {
    const { since_ms } = missing;
    asked_since_ms = Math.min(since_ms, asked_since_ms ?? Infinity);
    const asked = await askForMissed(open, { since_ms, also: Object.keys(runs.open), now_ms: now() });
    if (connection() !== open) return;
    // What was pushed just before the answers may have been stored just after them.
    for (const { key, session } of asked.sessions) {
      if (session.hasActiveRun === true) expectMore(key, since_ms);
    }
    const past = rebuild(asked, missing, progress.last()?.boot_id !== open.hello.boot_id);
    for (const key of past.pending) expectMore(key, since_ms);
    for (const key of past.unended)
      note(unended, key, Math.min(since_ms, missing.open_runs[key]?.last_ms ?? Infinity));
    expectEnds();
    add(missedLine(missing, now(), past.unknown));
    emitPast(past);
    endAsking();
    gaps.fill(missing);
    void reportStatus(describeFilled(stream, missing, asked.sessions.length, past, now()), isBehind());
  }

  async function completePending(open: Connection): Promise<void> {
    const wanted = new Map([...pending].filter(([key]) => settled.has(key)));
    const since_ms = Math.min(...wanted.values());
    questioned = wanted;
    for (const key of wanted.keys()) pending.delete(key);
    settled.clear();
    const asked = await askForMissed(open, { since_ms, only: new Set(wanted.keys()) });
    if (connection() !== open) return;
    const missing = { reason: 'known_in_part', since_ms, open_runs: runs.open };
    const past = rebuild(asked, missing, false);
    for (const key of past.pending) expectMore(key, wanted.get(key) ?? since_ms);
    emitPast(past);
    endAsking();
  }

  /** A gateway with much to do, or many sessions, takes many seconds to answer. */
  function expectDelay(): void {
    clearTimeout(reportLater);
    reportLater = setTimeout(() => {
      is_reported = true;
      reportHeldBack(true);
    }, HELD_BACK_MS);
  }

  function endDelay(): void {
    clearTimeout(reportLater);
    if (is_reported) reportHeldBack(false);
    is_reported = false;
  }

  /** Backfills until no gap and no settled session is left, then releases the held events. */
  async function run(open: Connection): Promise<void> {
    while (connection() === open) {
      expectDelay();
      const missing = gaps.missing();
      if (missing !== undefined) await fillGap(open, missing);
      else if (settled.size > 0) await completePending(open);
      else {
        asking = undefined;
        progress.unfreeze();
        gate.open();
        endDelay();
        return;
      }
    }
    // If the connection broke meanwhile, the next one asks again for what this one held back.
  }

  function ask(): void {
    const open = connection();
    if (open === undefined) return;
    gate.close();
    if (asking === open) return;
    asking = open;
    progress.freeze();
    // An exception is a bug in the bridge: the next connection starts over, and other sources are not affected.
    void run(open).catch((error) => {
      void reportStatus(
        `backfill from ${stream} failed: ${errorReason(error)}; reconnecting to try again`,
        isBehind(),
      );
      open.close();
    });
  }

  function askAbout(session_key: string, since_ms: number): void {
    expectMore(session_key, since_ms);
    settled.add(session_key);
    ask();
  }

  /** Asks about a run that had begun when the gateway was asked but was not in its answers yet. */
  function noteUnseen(payload: Json): void {
    if (asked_since_ms === undefined) return;
    const session_key = runs.unseen(payload);
    if (session_key !== undefined) askAbout(session_key, asked_since_ms);
  }

  function noticeSettled(frame: EventFrame): void {
    const session_key = settledSession(frame);
    if (session_key === undefined) return;
    if (asking !== undefined || pending.has(session_key)) settled.add(session_key);
    if (pending.has(session_key)) ask();
  }

  function start(): void {
    live_since_ms = now();
    ask();
  }

  return {
    start,
    drop() {
      gaps.drop(now());
      start();
    },
    see(frame) {
      noticeSettled(frame);
      if (frame.event === 'agent') noteUnseen(object(frame.payload));
    },
    askAbout,
    isBehind,
    forget() {
      gaps.forget();
      pending.clear();
      settled.clear();
      unended.clear();
    },
    lose(reason) {
      // These sessions are asked about on the next connection.
      for (const [key, since_ms] of questioned) {
        expectMore(key, since_ms);
        settled.add(key);
      }
      endAsking();
      asking = undefined;
      asked_since_ms = undefined;
      clearTimeout(askUnended);
      clearTimeout(reportLater);
      is_reported = false;
      gate.clear();
      progress.freeze();
      gaps.lose(reason);
    },
  };
}

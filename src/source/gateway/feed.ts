/**
 * What a gateway pushes, as one whole stream over all its connections. While the past is being asked for, what is pushed
 * waits, so that the stream stays in order; then both are given out together, and after that everything as it comes.
 */
import { type Json, object, text } from '../../json.js';
import { within } from '../../within.js';
import type { Push } from '../reader.js';
import { type Asked, askForMissed, type SessionAnswers } from './answers.js';
import type { Connection, Ending } from './connection.js';
import type { OpenRun } from './facts.js';
import { type EventFrame, endsRun } from './frames.js';
import { createOpenRuns } from './open-runs.js';
import { createOutlet } from './outlet.js';
import { createProgress, type GatewayPosition } from './position.js';
import { createQuietRuns } from './quiet-runs.js';
import { createReasoning, type Reasoning, reasoningRow } from './reasoning.js';
import { type RebuiltFrame, rebuildFrames } from './rebuild.js';
import { describeError, type Refusal } from './refusals.js';

/** What is missing, and why. */
interface Gap {
  reason: string;
  since_ms: number;
  /** The runs that went on when it began: others may go on in their sessions when it is asked about. */
  open_runs: Readonly<Record<string, OpenRun>>;
}

/** Frames that wait while the past is asked for; over this they are given out, in order or not. */
const MAX_HELD_BYTES = 32 * 1024 * 1024;

/** How long the answers on the side are waited for when following stops. */
const FINISH_MS = 2_000;

/** Text of a frame on one line: a line break can stand in JSON only where any white space could. */
const oneLine = (json: string): string => (/[\r\n]/.test(json) ? json.replaceAll(/[\r\n]+/g, ' ') : json);

const rebuiltLine = ({ event, payload, is_gap }: RebuiltFrame): string =>
  JSON.stringify({
    rx: Date.now(),
    rebuilt: true,
    ...(is_gap ? { gap: true } : {}),
    frame: { type: 'event', event, payload },
  });

const rowsLine = (messages: Json[]): string =>
  JSON.stringify({ rx: Date.now(), frame: { type: 'res', ok: true, payload: { messages } } });

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

/** Reasoning that was being asked for when the connection broke is of calls up to this much older than the gap. */
const REASONING_MARGIN_MS = 60_000;

/** The session in which a call may have been written down just now. */
const settledSession = ({ event, payload }: EventFrame): string | undefined => {
  const told = object(payload);
  return event === 'session.message' || endsRun(told) ? text(told.sessionKey) : undefined;
};

const RESTARTED = 1012;
const POLICY = 1008;

/** Why a connection ended, as the reason of the gap that it leaves. */
function gapReason({ code, reason }: Ending): string {
  if (code === RESTARTED) return 'gateway_restarted';
  return code === POLICY && reason.includes('slow') ? 'slow_consumer' : 'connection_lost';
}

export interface Feed {
  onEvent(json: string, frame: EventFrame): void;
  /**
   * Follows a connection to its end, or says why it is of no use. What is pushed until the next one is missing. `onFollowing`
   * is called once the gateway has agreed.
   */
  follow(connection: Connection, stop: AbortSignal, onFollowing?: () => void): Promise<Ending | Refusal>;
  /** Gives out what has been seen and not been pulled yet. */
  flush(): Promise<void>;
}

export interface FeedOptions {
  stream: string;
  push: Push;
  resume: GatewayPosition | undefined;
  /** Told to the user. */
  say(message: string): Promise<void>;
}

export function createFeed({ stream, push, resume, say }: FeedOptions): Feed {
  let gap: Gap | undefined =
    resume === undefined
      ? undefined
      : { reason: 'bridge_restarted', since_ms: resume.seen_ms, open_runs: resume.open_runs };
  let connection: Connection | undefined;
  let reasoning: Reasoning | undefined;
  let last_seq: number | undefined;
  /** Frames that wait; undefined where they go out as they come. */
  let held: string[] | undefined = [];
  let held_bytes = 0;
  /** The connection on which the past is being asked for. */
  let asking: Connection | undefined;
  const runs = createOpenRuns(resume?.open_runs);
  const progress = createProgress(resume, runs.open);
  const gapSince = (reason: string, since_ms: number): Gap => ({
    reason,
    since_ms,
    open_runs: { ...runs.open },
  });
  /** Sessions that are asked about once more when something has been written down in them, and since when. */
  const pending = new Map<string, number>();
  const quiet = createQuietRuns({
    isSeen: runs.isSeen,
    isOpen: (session_key, run_id) => runs.open[session_key]?.run_id === run_id,
    ask: askAbout,
  });
  /** Something has been written down in one of those, or a run has shown itself of which nothing had been seen. */
  let is_settled = false;
  /** From when on everything has been pushed, by the gateway's clock. */
  let live_since_ms = 0;
  /** From when on the past has been asked for on this connection. */
  let asked_since_ms: number | undefined;

  const outlet = createOutlet({
    stream,
    push,
    onFull: (is_full) => (is_full ? connection?.pause() : connection?.resume()),
    position: progress.position,
  });

  const gatewayNow = (): number => Date.now() + (connection?.clock_offset_ms ?? 0);

  const markSeen = (): void => progress.see(gatewayNow(), connection?.hello.boot_id);

  function release(): void {
    for (const line of held ?? []) outlet.add(line);
    held = undefined;
    held_bytes = 0;
    markSeen();
  }

  function give(line: string): void {
    if (held === undefined) {
      outlet.add(line);
      markSeen();
      return;
    }
    held.push(line);
    held_bytes += Buffer.byteLength(line);
    if (held_bytes > MAX_HELD_BYTES) release();
  }

  function tellMissed({ reason, since_ms }: Gap, asked: Asked): void {
    const until_ms = gatewayNow();
    const unknown =
      asked.is_partial || asked.sessions.filter((each) => each.is_partial).map(({ key }) => key);
    outlet.add(JSON.stringify({ rx: Date.now(), missed: { reason, since_ms, until_ms, unknown } }));
  }

  function giveRebuilt({ sessions }: Asked, { since_ms, open_runs }: Gap, is_restarted: boolean): number {
    const first_ms = progress.last()?.first_ms ?? since_ms;
    const frames: RebuiltFrame[] = [];
    for (const answers of sessions) {
      const open_run = open_runs[answers.key];
      const times = { since_ms, until_ms: live_since_ms, floor_ms: first_ms };
      const rebuilt = rebuildFrames(answers, { ...times, open_run, is_restarted });
      frames.push(...rebuilt.frames);
      if (rebuilt.is_pending) pending.set(answers.key, since_ms);
    }
    // Between sessions too the order is that in which it happened: a parent before its child.
    for (const frame of frames.sort((a, b) => a.ts_ms - b.ts_ms)) {
      runs.see(frame.payload);
      outlet.add(rebuiltLine(frame));
    }
    for (const answers of sessions) {
      const rows = reasonedRows(answers, Math.max(first_ms, since_ms - REASONING_MARGIN_MS));
      if (rows.length > 0) outlet.add(rowsLine(rows));
    }
    return frames.length;
  }

  async function fillGap(open: Connection, missing: Gap): Promise<void> {
    asked_since_ms = Math.min(missing.since_ms, asked_since_ms ?? Infinity);
    const asked = await askForMissed(open, {
      since_ms: missing.since_ms,
      also: Object.keys(runs.open),
    });
    if (connection !== open) return;
    tellMissed(missing, asked);
    // What was told just before the answers may have been written down just after them.
    for (const { key, session } of asked.sessions) {
      if (session.hasActiveRun === true) pending.set(key, missing.since_ms);
    }
    const is_restarted = progress.last()?.boot_id !== open.hello.boot_id;
    const events = giveRebuilt(asked, missing, is_restarted);
    const seconds = Math.max(0, (gatewayNow() - missing.since_ms) / 1000).toFixed(1);
    const partly = asked.is_partial || asked.sessions.some((each) => each.is_partial);
    const rest = partly ? '; not all of it could be had' : '';
    void say(
      `asked ${stream} for what was missed in ${seconds} s (${missing.reason.replaceAll('_', ' ')}): ` +
        `${events} events in ${asked.sessions.length} sessions${rest}`,
    );
    if (gap === missing) gap = undefined;
  }

  async function completePending(open: Connection): Promise<void> {
    const since_ms = Math.min(...pending.values());
    const keys = new Set(pending.keys());
    pending.clear();
    is_settled = false;
    const asked = await askForMissed(open, { since_ms, only: keys });
    const missing = { reason: 'known_in_part', since_ms, open_runs: runs.open };
    if (connection === open) giveRebuilt(asked, missing, false);
  }

  /** Asks for the past while there is something to ask for, then lets go what was held. */
  async function repair(open: Connection): Promise<void> {
    while ((gap !== undefined || is_settled) && connection === open) {
      await (gap === undefined ? completePending(open) : fillGap(open, gap));
    }
    // What a connection held that broke meanwhile is asked for again on the next one.
    if (connection !== open) return;
    asking = undefined;
    progress.goOn();
    release();
  }

  function startRepair(open: Connection): void {
    held ??= [];
    if (asking === open) return;
    asking = open;
    progress.stand();
    void repair(open);
  }

  function noticeDrops(seq: number | undefined): void {
    if (seq === undefined || connection === undefined) return;
    if (last_seq !== undefined && seq > last_seq + 1) {
      // What is dropped while an older gap is asked about may be in none of its answers: that is asked once more.
      gap =
        gap === undefined ? gapSince('frames_dropped', progress.last()?.seen_ms ?? gatewayNow()) : { ...gap };
      live_since_ms = gatewayNow();
      startRepair(connection);
    }
    last_seq = seq;
  }

  function askAbout(session_key: string, since_ms: number): void {
    if (connection === undefined) return;
    pending.set(session_key, since_ms);
    is_settled = true;
    startRepair(connection);
  }

  /** A run that had begun when the gateway was asked, and was not in its answers yet. */
  function noticeUnseen(payload: Json): void {
    if (asked_since_ms === undefined) return;
    const session_key = runs.unseen(payload);
    if (session_key !== undefined) askAbout(session_key, asked_since_ms);
  }

  function noticeSettled(frame: EventFrame): void {
    if (pending.size === 0 || connection === undefined) return;
    const session_key = settledSession(frame);
    if (session_key === undefined || !pending.has(session_key)) return;
    is_settled = true;
    startRepair(connection);
  }

  function lose(reason: string): void {
    connection = undefined;
    asking = undefined;
    reasoning = undefined;
    quiet.end();
    last_seq = undefined;
    asked_since_ms = undefined;
    held = [];
    held_bytes = 0;
    progress.stand();
    const last = progress.last();
    if (last === undefined) return;
    // Runs that began while an older gap was asked about are in that gap by now.
    gap =
      gap === undefined
        ? gapSince(reason, last.seen_ms)
        : { ...gap, open_runs: { ...gap.open_runs, ...runs.open } };
  }

  return {
    onEvent(json, frame) {
      if (connection === undefined) last_seq = frame.seq;
      else noticeDrops(frame.seq);
      noticeSettled(frame);
      if (frame.event === 'agent') {
        noticeUnseen(object(frame.payload));
        runs.see(object(frame.payload));
      } else if (frame.event === 'session.message') quiet.see(object(frame.payload));
      give(`{"rx":${Date.now()},"frame":${oneLine(json)}}`);
      reasoning?.see(frame);
    },
    async follow(opened, stop, onFollowing) {
      connection = opened;
      // The gateway pushes as soon as it is asked, which may be before its answer.
      const asked = createReasoning(opened.call, (rows) => give(rowsLine(rows)));
      reasoning = asked;
      const subscribed = await opened.call('sessions.subscribe', {});
      if (!subscribed.ok) {
        opened.close();
        asked.end();
        lose('connection_lost');
        return describeError(subscribed.error);
      }
      onFollowing?.();
      live_since_ms = gatewayNow();
      startRepair(opened);
      const finish = (): void => void within(FINISH_MS, asked.finish()).then(opened.close);
      if (stop.aborted) finish();
      else stop.addEventListener('abort', finish);
      const ending = await opened.ended;
      stop.removeEventListener('abort', finish);
      asked.end();
      lose(gapReason(ending));
      return ending;
    },
    flush: outlet.flush,
  };
}

/**
 * Turns what a gateway pushes into one continuous stream over all its connections. During a backfill, pushed events are held
 * back so that the stream stays in order: the backfilled events are emitted first, then the held ones, and later events as they
 * arrive.
 */
import type { SourceStatus } from '../../model/source.js';
import { number, object, text } from '../../util/json.js';
import { within } from '../../util/within.js';
import type { Push } from '../reader.js';
import { createBackfill } from './backfill/backfill.js';
import { leftOutLine, pushedLine, rowsLine, storedLine } from './backfill/lines.js';
import type { Answer } from './connection/calls.js';
import type { Connection, Ending } from './connection/connection.js';
import type { EventFrame } from './connection/frames.js';
import { hasOwnNumbers, SUBSCRIBE } from './connection/handshake.js';
import { describeError, type Refusal } from './connection/refusals.js';
import { createGate } from './gate.js';
import { createOpenRuns } from './open-runs.js';
import { createOutlet } from './outlet.js';
import { createProgress, type GatewayPosition } from './position.js';
import { createQuietRuns } from './quiet-runs.js';
import { createReasoning } from './reasoning.js';

/** How long stopping waits for the reasoning tokens that are still wanted. */
const FINISH_MS = 2_000;

/** The only events that the gateway pushes of some runs. */
const QUIET_RUN_EVENTS: ReadonlySet<string> = new Set(['session.message', 'sessions.changed']);

const RESTARTED = 1012;
const POLICY = 1008;

/** The reason of the gap that the end of a connection leaves. */
function gapReason({ code, reason }: Ending): string {
  if (code === RESTARTED) return 'gateway_restarted';
  return code === POLICY && reason.includes('slow') ? 'slow_consumer' : 'connection_lost';
}

/** The message to the user about a gateway of which nothing from before now is wanted. */
const describeAnother = (stream: string): string =>
  `the gateway at ${stream} belongs to another OpenClaw than the one followed before: it is followed from now on`;

/** The message to the user about a gateway that pushes events but answers nothing. */
const describeRefused = (stream: string, reason: string): string =>
  `the gateway at ${stream} can't answer requests now: ${reason}; ` +
  'its events are still followed, but model calls wait for their reasoning tokens';

const heldBackStatus = (stream: string, is_behind: boolean): SourceStatus => ({
  kind: 'status',
  state: 'up',
  message: `what the gateway at ${stream} pushes is ${is_behind ? '' : 'no longer '}held back`,
  is_behind,
  is_silent: true,
});

export interface Feed {
  onEvent(json: string, frame: EventFrame): void;
  /**
   * Follows a connection to its end, or returns the refusal if the subscription fails. What the gateway pushes before the next
   * connection is missing. `onFollowing` is called once the subscription is accepted; `is_behind`: the gateway is asked next
   * for what is missing.
   */
  follow(
    connection: Connection,
    stop: AbortSignal,
    onFollowing?: (is_behind: boolean) => void,
  ): Promise<Ending | Refusal>;
  /** Emits what has been received and not been pulled yet. */
  flush(): Promise<void>;
}

export interface FeedOptions {
  stream: string;
  push: Push;
  resume: GatewayPosition | undefined;
  /** Reports a message to the user, and the source as up. `is_behind`: not everything that was missed has been emitted yet. */
  reportStatus(message: string, is_behind: boolean): Promise<void>;
  /** Reports a message to the user, and the source as down. The same message is repeated only after `reportStatus`. */
  warn(message: string): Promise<void>;
}

export function createFeed({ stream, push, resume, reportStatus, warn }: FeedOptions): Feed {
  let connection: Connection | undefined;
  let last_seq: number | undefined;
  /** A number was left out before it was known how this gateway numbers its events. */
  let is_number_missing = false;
  const now = (): number => Date.now() + (connection?.clock_offset_ms ?? 0);
  /** The time of the latest event, by the gateway's clock: long past if the bridge was asleep or slow. */
  let latest_frame_ms = 0;
  const runs = createOpenRuns(resume?.open_runs);
  const progress = createProgress(resume, runs.open);
  const outlet = createOutlet({
    stream,
    push,
    onFull: (is_full) => (is_full ? connection?.pause() : connection?.resume()),
    position: progress.position,
  });
  const gate = createGate(outlet.add, () => progress.see(latest_frame_ms, connection?.hello.boot_id));
  const backfill = createBackfill({
    stream,
    resume,
    runs,
    progress,
    gate,
    connection: () => connection,
    now,
    add: outlet.add,
    reportStatus,
    reportHeldBack: (is_behind) => void push(heldBackStatus(stream, is_behind)),
  });
  const reasoning = createReasoning({
    onRows: (rows) => gate.give(rowsLine(rows)),
    onMessage: (session_key, row) => gate.give(storedLine(session_key, row)),
    onRefused: (reason) => void warn(describeRefused(stream, reason)),
    onAnswered: () =>
      void reportStatus(`the gateway at ${stream} answers requests again`, backfill.isBehind()),
    onLeftOut: () => gate.give(leftOutLine()),
  });
  const quiet = createQuietRuns({
    isSeen: runs.isSeen,
    isOpen: (session_key, run_id) => runs.open[session_key]?.run_id === run_id,
    ask: backfill.askAbout,
  });

  /** Sequence numbers count up within a connection. */
  function noticeDrops(seq: number): void {
    is_number_missing ||= last_seq !== undefined && seq > last_seq + 1;
    last_seq = seq;
    if (connection !== undefined) judgeDrops(connection);
  }

  function judgeDrops({ hello }: Connection): void {
    if (is_number_missing && hasOwnNumbers(hello)) backfill.drop();
    is_number_missing = false;
  }

  /** Not every event has a timestamp. One in the future would hide what is missed until then. */
  const noteTime = (ms: number): void => {
    latest_frame_ms = Math.max(latest_frame_ms, Math.min(ms, now()));
  };

  /** What was seen of another OpenClaw says nothing about this one. */
  function identify(answer: Answer): void {
    const openclaw_id = answer.ok ? text(answer.payload.deviceId) : undefined;
    if (openclaw_id === undefined || !progress.identify(openclaw_id)) return;
    runs.forget();
    backfill.forget();
    void reportStatus(describeAnother(stream), false);
  }

  function lose(reason: string): void {
    connection = undefined;
    last_seq = undefined;
    is_number_missing = false;
    reasoning.end();
    quiet.end();
    backfill.lose(reason);
  }

  return {
    onEvent(json, frame) {
      noteTime(number(object(frame.payload).ts) ?? 0);
      if (frame.seq !== undefined) noticeDrops(frame.seq);
      backfill.see(frame);
      if (frame.event === 'agent') runs.see(object(frame.payload));
      if (frame.event === 'session.tool') runs.seeCall(object(frame.payload));
      if (frame.event === 'sessions.changed') runs.seeChange(object(frame.payload));
      if (QUIET_RUN_EVENTS.has(frame.event)) quiet.see(object(frame.payload));
      gate.give(pushedLine(json));
      reasoning.see(frame);
    },
    async follow(opened, stop, onFollowing) {
      connection = opened;
      // Everything from here on is pushed.
      noteTime(now());
      const [subscribed, identity] = await Promise.all([
        opened.call(SUBSCRIBE, {}),
        opened.call('gateway.identity.get', {}),
      ]);
      if (!subscribed.ok) {
        opened.close();
        lose('connection_lost');
        return describeError(subscribed.error);
      }
      identify(identity);
      judgeDrops(opened);
      onFollowing?.(backfill.isBehind());
      backfill.start();
      reasoning.begin(opened.call);
      const finish = (): void => void within(FINISH_MS, reasoning.finish()).then(opened.close);
      if (stop.aborted) finish();
      else stop.addEventListener('abort', finish);
      const ending = await opened.ended;
      stop.removeEventListener('abort', finish);
      lose(gapReason(ending));
      return ending;
    },
    flush: outlet.flush,
  };
}

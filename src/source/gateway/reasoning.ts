/**
 * Fetches what no pushed frame has, with `sessions.get`, for several model calls at a time: reasoning tokens, emitted as rows
 * that are joined to the calls by message id, and messages that are not pushed at all (`unpushed.ts`). Live events never wait for
 * them. Calls for which the gateway gives no answer, because it is about to restart, stay wanted; they are requested when it
 * answers again, on another connection if need be.
 */
import { isMaskOf } from '../../model/masked.js';
import { type Json, list, number, object, text } from '../../util/json.js';
import { type Backoff, backoffDelay } from '../socket/socket.js';
import { type Call, isNoAnswer } from './connection/calls.js';
import { type EventFrame, endsRun } from './connection/frames.js';
import { createUnpushed, type UnpushedCall } from './unpushed.js';

/** How long the first model call of a session waits for others, so that one request serves them all. */
const GATHER_MS = 400;
/** How long a call stays wanted while the gateway answers; the correlator waits little longer for its tokens. */
const GIVE_UP_MS = 4_500;
/** Rows that are requested beyond the wanted ones, since other messages may follow those. */
const SPARE_ROWS = 20;
/** Minimum number of rows to request if the first answer did not have everything that was wanted. */
const ROWS_AGAIN = 200;
/** Maximum number of wanted model calls of one session; over it the oldest is no longer wanted. */
const MAX_WANTED = 180;
/** Maximum number of sessions with wanted calls; calls of further ones are not wanted. */
const MAX_SESSIONS = 2_000;

/**
 * How soon a gateway that gives no answers is asked again. Less than the 5 s for which model calls still wait after the source
 * was reported up: the next refusal is reported before that.
 */
const REFUSED_BACKOFF: Backoff = { min_ms: 500, max_ms: 4_000 };
const NO_JITTER = (): number => 0;

interface Wanted {
  /** By message id: when the message came, in milliseconds of a monotonic clock. */
  messages: Map<string, number>;
  /** Calls whose message has to be looked for. */
  unpushed: UnpushedCall[];
  tries: number;
  timer?: NodeJS.Timeout;
  asking?: Promise<void>;
}

export interface Reasoning {
  /** Checks a pushed event: for a model call whose reasoning tokens are to be requested, or for the end of a run. */
  see(frame: EventFrame): void;
  /** Uses `call` from now on, also for what is still wanted from before. */
  begin(call: Call): void;
  /** Requests what is still wanted, without waiting for more; resolves when it has been answered. */
  finish(): Promise<void>;
  /** The connection has ended: what is still wanted is requested on the next one. */
  end(): void;
}

export interface ReasoningOptions {
  /** Receives the rows of wanted calls, for one session at a time. */
  onRows(rows: Json[]): void;
  /** Receives a stored message that was not pushed. */
  onMessage(session_key: string, row: Json): void;
  /** Called each time that the gateway gives no answer, with the reason. */
  onRefused(reason: string): void;
  /** Called when it gives answers again. */
  onAnswered(): void;
  /** Called for each model call that stays without its tokens because too many are wanted. */
  onLeftOut(): void;
}

/** The model call in a message event whose reasoning tokens are to be requested, if it is one. */
function modelCallOf(payload: Json): { key: string; message_id: string } | undefined {
  const message = object(payload.message);
  const key = text(payload.sessionKey);
  const message_id = text(payload.messageId) ?? text(object(message.__openclaw).id);
  const counts = number(object(message.usage).output);
  if (message.role !== 'assistant' || key === undefined || message_id === undefined) return undefined;
  // Tokens were spent, and how many of them on reasoning is not known yet.
  return counts && object(message.usage).reasoningTokens === undefined ? { key, message_id } : undefined;
}

/** The parts of a stored message that its reasoning tokens need; its content stays out of the stream. */
export function reasoningRow(row: Json): Json {
  const { runId, id, recordTimestampMs } = object(row.__openclaw);
  return {
    role: row.role,
    responseId: row.responseId,
    usage: { reasoningTokens: object(row.usage).reasoningTokens },
    __openclaw: { runId, id, recordTimestampMs },
  };
}

/** The call during which this message was stored, if it is one of these. */
function unpushedCall(row: Json, calls: UnpushedCall[]): UnpushedCall | undefined {
  const { id, runId, recordTimestampMs } = object(row.__openclaw);
  if (row.role !== 'assistant') return undefined;
  const run_id = text(runId);
  if (run_id === undefined)
    return calls.find(({ message_id }) => message_id !== undefined && message_id === id);
  const stored_ms = number(recordTimestampMs);
  if (stored_ms === undefined) return undefined;
  return calls.find(
    (call) =>
      (run_id === call.run_id || isMaskOf(run_id, call.run_id)) &&
      stored_ms >= call.since_ms &&
      stored_ms <= call.until_ms,
  );
}

/** The row with its run, which rows do not name before OpenClaw 2026.9, and with the time at which it was stored. */
const withRun = (row: Json, { run_id, until_ms }: UnpushedCall): Json => ({
  ...row,
  __openclaw: { runId: run_id, recordTimestampMs: until_ms, ...object(row.__openclaw) },
});

export function createReasoning(options: ReasoningOptions): Reasoning {
  const { onRows, onMessage, onRefused, onAnswered, onLeftOut } = options;
  const sessions = new Map<string, Wanted>();
  /** Present while there is a connection. */
  let call: Call | undefined;
  /** Consecutive requests without an answer; after the first, only one request is made at a time. */
  let refusals = 0;
  let askAgain: NodeJS.Timeout | undefined;

  const canAsk = (): boolean => call !== undefined && refusals === 0;

  /** What is wanted of a session; undefined if too much is. */
  function wantedOf(key: string): Wanted | undefined {
    const known = sessions.get(key);
    if (known !== undefined || sessions.size >= MAX_SESSIONS) return known;
    const wanted: Wanted = { messages: new Map(), unpushed: [], tries: 0 };
    sessions.set(key, wanted);
    return wanted;
  }

  function want(key: string, message_id: string): void {
    const wanted = wantedOf(key);
    if (wanted === undefined) return onLeftOut();
    wanted.messages.set(message_id, performance.now());
    const [oldest] = wanted.messages.keys();
    if (wanted.messages.size > MAX_WANTED && oldest !== undefined) {
      wanted.messages.delete(oldest);
      onLeftOut();
    }
    askLater(key, wanted);
  }

  const unpushed = createUnpushed((key, call) => {
    const wanted = wantedOf(key);
    if (wanted === undefined || wanted.unpushed.length >= MAX_WANTED) return onLeftOut();
    wanted.unpushed.push(call);
    askLater(key, wanted);
  });

  /** Restarts the waiting time of all wanted calls: time in which the gateway could not be asked does not count. */
  function renew(): void {
    for (const { messages } of sessions.values()) {
      for (const id of messages.keys()) messages.set(id, performance.now());
    }
  }

  function forget(messages: Map<string, number>, older_than_ms: number): void {
    for (const [id, since_ms] of messages) if (since_ms < older_than_ms) messages.delete(id);
  }

  async function ask(key: string, wanted: Wanted): Promise<void> {
    const asked = call;
    if (asked === undefined) return;
    const calls = [...wanted.unpushed];
    const few = (wanted.messages.size + calls.length) * 3 + SPARE_ROWS;
    const limit = wanted.tries++ === 0 ? few : Math.max(few, ROWS_AGAIN);
    const answer = await asked('sessions.get', { key, limit });
    // The connection has ended meanwhile.
    if (call !== asked) return;
    if (!answer.ok && isNoAnswer(answer.error)) return beRefused(answer.error.message);
    if (refusals > 0) resume();
    const rows = answer.ok ? list(answer.payload.messages).map(object) : [];
    const found = rows.filter((row) => wanted.messages.delete(text(object(row.__openclaw).id) ?? ''));
    if (found.length > 0) onRows(found.map(reasoningRow));
    wanted.unpushed.splice(0, calls.length);
    for (const row of rows) {
      const unpushed_call = unpushedCall(row, calls);
      if (unpushed_call !== undefined) onMessage(key, withRun(row, unpushed_call));
    }
    forget(wanted.messages, performance.now() - GIVE_UP_MS);
  }

  /** Makes one request at a time for a session; calls that came meanwhile, or were not in the answer, are in the next one. */
  function askNow(key: string, wanted: Wanted): Promise<void> {
    clearTimeout(wanted.timer);
    delete wanted.timer;
    wanted.asking ??= ask(key, wanted).then(() => {
      delete wanted.asking;
      if (wanted.messages.size + wanted.unpushed.length > 0) askLater(key, wanted);
      else sessions.delete(key);
    });
    return wanted.asking;
  }

  function askLater(key: string, wanted: Wanted): void {
    if (canAsk()) wanted.timer ??= setTimeout(() => void askNow(key, wanted), GATHER_MS);
  }

  /** Asks for one session after the other: a gateway that has just started is busy. */
  async function askAll(): Promise<void> {
    for (const [key, wanted] of sessions) {
      if (!canAsk()) return;
      await askNow(key, wanted);
    }
  }

  /** Waits, and then asks for a single session, until the gateway answers again. */
  function beRefused(reason: string): void {
    onRefused(reason);
    stopTimers();
    askAgain = setTimeout(
      () => {
        const [first] = sessions;
        if (first !== undefined) void askNow(...first);
      },
      backoffDelay(refusals++, REFUSED_BACKOFF, NO_JITTER),
    );
  }

  function resume(): void {
    stopTimers();
    refusals = 0;
    onAnswered();
    renew();
    void askAll();
  }

  function stopTimers(): void {
    clearTimeout(askAgain);
    for (const wanted of sessions.values()) {
      clearTimeout(wanted.timer);
      delete wanted.timer;
    }
  }

  return {
    see(frame) {
      const { event } = frame;
      const content = object(frame.payload);
      unpushed.see(frame);
      if (event === 'session.message') {
        const found = modelCallOf(content);
        if (found !== undefined) want(found.key, found.message_id);
        return;
      }
      // The run makes no more model calls, so there are none to wait for.
      const key = event === 'agent' && canAsk() && endsRun(content) ? text(content.sessionKey) : undefined;
      const wanted = key === undefined ? undefined : sessions.get(key);
      if (key !== undefined && wanted !== undefined) void askNow(key, wanted);
    },
    begin(call_now) {
      call = call_now;
      renew();
      void askAll();
    },
    async finish() {
      if (canAsk()) await Promise.all([...sessions].map(([key, wanted]) => askNow(key, wanted)));
    },
    end() {
      call = undefined;
      refusals = 0;
      stopTimers();
    },
  };
}

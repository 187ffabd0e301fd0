/**
 * Reasoning tokens are on no pushed frame: they are asked for with `sessions.get`, for several model calls at a time, and
 * given on as rows that join by message id. The live path never waits for it. What a gateway can't answer now, because it is
 * about to restart, stays wanted, and is asked for when it answers again, be it on another connection.
 */
import { type Json, list, number, object, text } from '../../util/json.js';
import { type Backoff, backoffDelay } from '../socket.js';
import { type Call, isNoAnswer } from './calls.js';
import { type EventFrame, endsRun } from './frames.js';

/** How long the first model call of a session waits for others, so that one question serves them all. */
const GATHER_MS = 400;
/** After this nobody waits for the tokens of a call that could be asked for. */
const GIVE_UP_MS = 4_500;
/** Rows that are asked for beyond those that are wanted: the messages may be followed by others. */
const SPARE_ROWS = 20;
/** Rows that are asked for, at the least, where those did not have all that was wanted. */
const ROWS_AGAIN = 200;
/** Model calls of one session that are waited for at a time. */
const MAX_WANTED = 180;
const MAX_SESSIONS = 2_000;

/** How soon a gateway that gives no answers is asked again: sooner than its status is forgotten, which is after 5 s. */
const REFUSED_BACKOFF: Backoff = { min_ms: 500, max_ms: 4_000, random: () => 0 };

interface Wanted {
  /** By message id: when it came, by a clock that only goes forward. */
  messages: Map<string, number>;
  tries: number;
  timer?: NodeJS.Timeout;
  asking?: Promise<void>;
}

export interface Reasoning {
  /** Looks at a pushed event for a model call whose reasoning tokens are to be asked for. */
  see(frame: EventFrame): void;
  /** Here can be asked from now on, also for what is still wanted from before. */
  begin(call: Call): void;
  /** Asks for what is still wanted, without waiting for more; resolves when it has been answered. */
  finish(): Promise<void>;
  /** The connection has ended: what is still wanted is asked for on the next one. */
  end(): void;
}

export interface ReasoningOptions {
  /** Given the rows that tell of wanted calls, for a session at a time. */
  onRows(rows: Json[]): void;
  /** The gateway gives no answers now, and why; told each time that it has been asked. */
  onRefused(reason: string): void;
  /** It gives answers again. */
  onAnswered(): void;
}

/** The message of a model call, where the event is one. */
function modelCallOf(payload: Json): { key: string; message_id: string } | undefined {
  const message = object(payload.message);
  const key = text(payload.sessionKey);
  const message_id = text(payload.messageId) ?? text(object(message.__openclaw).id);
  const counts = number(object(message.usage).output);
  if (message.role !== 'assistant' || key === undefined || message_id === undefined) return undefined;
  // Tokens were spent, and how many of them on reasoning is not said yet.
  return counts && object(message.usage).reasoningTokens === undefined ? { key, message_id } : undefined;
}

/** Of a stored message only what tells of its reasoning tokens: its content is nobody's business here. */
export function reasoningRow(row: Json): Json {
  const { runId, id, recordTimestampMs } = object(row.__openclaw);
  return {
    role: row.role,
    responseId: row.responseId,
    usage: { reasoningTokens: object(row.usage).reasoningTokens },
    __openclaw: { runId, id, recordTimestampMs },
  };
}

export function createReasoning({ onRows, onRefused, onAnswered }: ReasoningOptions): Reasoning {
  const sessions = new Map<string, Wanted>();
  /** Present while there is somebody to ask. */
  let call: Call | undefined;
  /** Questions in a row that were given no answer; after the first, only one is asked at a time. */
  let refusals = 0;
  let askAgain: NodeJS.Timeout | undefined;

  const canAsk = (): boolean => call !== undefined && refusals === 0;

  function want(key: string, message_id: string): void {
    let wanted = sessions.get(key);
    if (wanted === undefined) {
      if (sessions.size >= MAX_SESSIONS) return;
      wanted = { messages: new Map(), tries: 0 };
      sessions.set(key, wanted);
    }
    wanted.messages.set(message_id, performance.now());
    const [oldest] = wanted.messages.keys();
    if (wanted.messages.size > MAX_WANTED && oldest !== undefined) wanted.messages.delete(oldest);
    askLater(key, wanted);
  }

  /** The time in which nobody could be asked does not count. */
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
    const few = wanted.messages.size * 3 + SPARE_ROWS;
    const limit = wanted.tries++ === 0 ? few : Math.max(few, ROWS_AGAIN);
    const answer = await asked('sessions.get', { key, limit });
    // Its connection has ended meanwhile.
    if (call !== asked) return;
    if (!answer.ok && isNoAnswer(answer.error)) return beRefused(answer.error.message);
    if (refusals > 0) goOn();
    const rows = answer.ok ? list(answer.payload.messages).map(object) : [];
    const found = rows.filter((row) => wanted.messages.delete(text(object(row.__openclaw).id) ?? ''));
    if (found.length > 0) onRows(found.map(reasoningRow));
    forget(wanted.messages, performance.now() - GIVE_UP_MS);
  }

  /** One question at a time for a session; what has come meanwhile, or was not answered, is the next one. */
  function askNow(key: string, wanted: Wanted): Promise<void> {
    clearTimeout(wanted.timer);
    delete wanted.timer;
    wanted.asking ??= ask(key, wanted).then(() => {
      delete wanted.asking;
      if (wanted.messages.size > 0) askLater(key, wanted);
      else sessions.delete(key);
    });
    return wanted.asking;
  }

  function askLater(key: string, wanted: Wanted): void {
    if (canAsk()) wanted.timer ??= setTimeout(() => void askNow(key, wanted), GATHER_MS);
  }

  /** A session after the other: a gateway that has just started has much else to do. */
  async function askAll(): Promise<void> {
    for (const [key, wanted] of sessions) {
      if (!canAsk()) return;
      await askNow(key, wanted);
    }
  }

  /** Until it answers again, the gateway is asked for one session alone. */
  function beRefused(reason: string): void {
    onRefused(reason);
    stopTimers();
    askAgain = setTimeout(
      () => {
        const [first] = sessions;
        if (first !== undefined) void askNow(...first);
      },
      backoffDelay(refusals++, REFUSED_BACKOFF),
    );
  }

  function goOn(): void {
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
    see({ event, payload }) {
      const told = object(payload);
      if (event === 'session.message') {
        const found = modelCallOf(told);
        if (found !== undefined) want(found.key, found.message_id);
        return;
      }
      // No more model calls of the run come.
      const key = event === 'agent' && canAsk() && endsRun(told) ? text(told.sessionKey) : undefined;
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

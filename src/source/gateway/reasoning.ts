/**
 * Reasoning tokens are on no pushed frame: they are asked for with `sessions.get`, for several model calls at a time, and
 * given on as rows that join by message id. The live path never waits for it.
 */
import { type Json, list, number, object, text } from '../../json.js';
import type { Call } from './calls.js';
import { type EventFrame, endsRun } from './frames.js';

/** How long the first model call of a session waits for others, so that one question serves them all. */
const GATHER_MS = 400;
/** After this nobody waits for the tokens any more. */
const GIVE_UP_MS = 4_500;
/** Rows that are asked for beyond those that are wanted: the messages may be followed by others. */
const SPARE_ROWS = 20;
const MAX_ROWS = 200;
/** Model calls of one session that are waited for at a time. */
const MAX_WANTED = MAX_ROWS - SPARE_ROWS;

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
  /** Asks for what is still wanted, without waiting for more; resolves when it has been answered. */
  finish(): Promise<void>;
  /** The connection has ended: nothing can be asked any more. */
  end(): void;
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

/**
 * `onRows` is given the rows that tell of wanted calls, for a session at a time.
 */
export function createReasoning(call: Call, onRows: (rows: Json[]) => void): Reasoning {
  const sessions = new Map<string, Wanted>();
  let is_over = false;

  function wantedOf(key: string): Wanted {
    const known = sessions.get(key);
    if (known !== undefined) return known;
    const wanted: Wanted = { messages: new Map(), tries: 0 };
    sessions.set(key, wanted);
    return wanted;
  }

  function forget(messages: Map<string, number>, older_than_ms: number): void {
    for (const [id, since_ms] of messages) {
      if (since_ms < older_than_ms || messages.size > MAX_WANTED) messages.delete(id);
    }
  }

  async function ask(key: string, wanted: Wanted): Promise<void> {
    const few = Math.min(MAX_ROWS, wanted.messages.size * 3 + SPARE_ROWS);
    const limit = wanted.tries++ === 0 ? few : MAX_ROWS;
    const answer = await call('sessions.get', { key, limit });
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
    if (is_over) return;
    wanted.timer ??= setTimeout(() => void askNow(key, wanted), GATHER_MS);
  }

  return {
    see({ event, payload }) {
      const told = object(payload);
      if (event === 'session.message') {
        const found = modelCallOf(told);
        if (found === undefined) return;
        const wanted = wantedOf(found.key);
        wanted.messages.set(found.message_id, performance.now());
        askLater(found.key, wanted);
      }
      // No more model calls of the run come.
      const key = event === 'agent' && endsRun(told) ? text(told.sessionKey) : undefined;
      const wanted = key === undefined ? undefined : sessions.get(key);
      if (key !== undefined && wanted !== undefined) void askNow(key, wanted);
    },
    async finish() {
      await Promise.all([...sessions].map(([key, wanted]) => askNow(key, wanted)));
    },
    end() {
      is_over = true;
      for (const { timer } of sessions.values()) clearTimeout(timer);
      sessions.clear();
    },
  };
}

/**
 * Finds model calls whose message the gateway stores but does not push: silent answers (`NO_REPLY`) and answers that consist only
 * of reasoning. Such a call begins and reports usage like any other, but the next one begins, or the run ends, without its message.
 * Before OpenClaw 2026.9 calls neither begin nor report usage, but the session says that a message has been stored.
 */
import { isObject, type Json, object, text } from '../../util/json.js';
import { type EventFrame, endsRun } from './connection/frames.js';

/** Sessions that are tracked; the one whose call began first is forgotten. */
const MAX_SESSIONS = 10_000;

/** The time in which the message of a call was stored, in epoch milliseconds. */
export interface UnpushedCall {
  run_id: string;
  since_ms: number;
  until_ms: number;
  /** Known if the session has said that it was stored, at `until_ms`. */
  message_id?: string;
}

/** The latest run of a session of which no model calls begin, and the latest message that was pushed. */
interface Latest {
  run_id: string;
  message_id?: string | undefined;
}

interface BegunCall {
  run_id: string;
  since_ms: number;
  /** The model has answered: its message is stored, unless it called a tool that does not exist. */
  has_usage: boolean;
}

export interface Unpushed {
  see(frame: EventFrame): void;
}

export function createUnpushed(ask: (session_key: string, call: UnpushedCall) => void): Unpushed {
  /** The call of each session whose message has not been pushed yet. */
  const begun = new Map<string, BegunCall>();

  const latest = new Map<string, Latest>();

  function remember(session_key: string, run: Latest): void {
    latest.delete(session_key);
    latest.set(session_key, run);
    const [oldest = session_key] = latest.keys();
    if (latest.size > MAX_SESSIONS) latest.delete(oldest);
  }

  function seeStored(session_key: string, { messageId, ts }: Json): void {
    const message_id = text(messageId);
    const run = latest.get(session_key);
    if (run === undefined || message_id === undefined || message_id === run.message_id) return;
    ask(session_key, { run_id: run.run_id, since_ms: 0, until_ms: Number(ts), message_id });
  }

  function seeMessage(session_key: string, { messageId, message }: Json): void {
    const run = latest.get(session_key);
    if (run !== undefined) run.message_id = text(messageId);
    // A message without usage is not of a model.
    if (isObject(object(message).usage)) begun.delete(session_key);
  }

  function begin(session_key: string, call: BegunCall): void {
    begun.set(session_key, call);
    const [oldest = session_key] = begun.keys();
    if (begun.size > MAX_SESSIONS) begun.delete(oldest);
  }

  function endCall(session_key: string, run_id: string, until_ms: number): void {
    const call = begun.get(session_key);
    begun.delete(session_key);
    if (call?.has_usage === true && call.run_id === run_id)
      ask(session_key, { run_id, since_ms: call.since_ms, until_ms });
  }

  function seeAgent(session_key: string, payload: Json): void {
    const { stream, data, runId, ts } = payload;
    const run_id = text(runId) ?? '';
    const call = begun.get(session_key);
    if (stream === 'usage' && call?.run_id === run_id) call.has_usage = true;
    const { phase, model } = object(data);
    if (stream === 'lifecycle' && phase === 'start') remember(session_key, { run_id });
    if (stream === 'lifecycle' && phase === 'model') latest.delete(session_key);
    if (stream !== 'lifecycle' || (phase !== 'model' && !endsRun(payload))) return;
    endCall(session_key, run_id, Number(ts));
    if (text(model) !== undefined) begin(session_key, { run_id, since_ms: Number(ts), has_usage: false });
  }

  return {
    see({ event, payload }) {
      const content = object(payload);
      const session_key = text(content.sessionKey);
      if (session_key === undefined) return;
      if (event === 'agent') seeAgent(session_key, content);
      else if (event === 'session.message') seeMessage(session_key, content);
      else if (event === 'sessions.changed' && content.phase === 'message') seeStored(session_key, content);
    },
  };
}

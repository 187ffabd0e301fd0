/**
 * Finds model calls whose message the gateway stores but does not push: silent answers (`NO_REPLY`) and answers that consist only
 * of reasoning. Such a call begins and reports usage like any other, but the next one begins, or the run ends, without its message.
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
      // A message without usage is not of a model.
      else if (event === 'session.message' && isObject(object(content.message).usage))
        begun.delete(session_key);
    },
  };
}

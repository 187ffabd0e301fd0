/**
 * Finds runs of which the gateway pushes only the messages, or only that their session's run has ended, as it may for a
 * heartbeat's run, with or without an answer: once such a run has been quiet for a moment, the gateway is asked about it.
 */
import { type Json, number, object, text } from '../../util/json.js';

/** A run ends, and is stored, well within this time after its last message. */
const QUIET_MS = 1_500;
/** How soon a run that was still open is asked about again without another message. */
const STILL_OPEN_MS = 30_000;

/** How long before its first message a run may have begun. */
const BEGAN_BEFORE_MS = 10 * 60_000;

const MAX_QUIET = 1_000;

interface QuietRun {
  run_id: string;
  since_ms: number;
  timer: NodeJS.Timeout;
}

type Question = Omit<QuietRun, 'timer'>;

export interface QuietRuns {
  /** Takes in the payload of a message, or of a change of a session. */
  see(payload: Json): void;
  /** The connection has ended: cancels all questions. */
  end(): void;
}

export interface QuietOptions {
  /** Whether agent events have been seen of this run. */
  isSeen(run_id: string): boolean;
  /** Whether this run is open, as far as is known. */
  isOpen(session_key: string, run_id: string): boolean;
  ask(session_key: string, since_ms: number): void;
}

/**
 * The run that a model's message belongs to, or that has ended in a session; and the time of that. Protocol 3 names no agent,
 * and can't be asked about single runs.
 */
function runOf({ message, runId, agentId, phase, ts }: Json): { run_id: string | undefined; ms: unknown } {
  if (phase === 'end' || phase === 'error')
    return { run_id: agentId === undefined ? undefined : text(runId), ms: ts };
  const { role, timestamp, __openclaw } = object(message);
  return { run_id: role === 'assistant' ? text(object(__openclaw).runId) : undefined, ms: timestamp };
}

export function createQuietRuns({ isSeen, isOpen, ask }: QuietOptions): QuietRuns {
  const runs = new Map<string, QuietRun>();

  function askAbout(session_key: string, question: Question): void {
    const { run_id, since_ms } = question;
    ask(session_key, since_ms);
    // By then there has been time for an answer, which shows whether the run is over.
    const again = (): void => {
      if (isOpen(session_key, run_id)) askAbout(session_key, question);
      else runs.delete(session_key);
    };
    runs.set(session_key, { ...question, timer: setTimeout(again, STILL_OPEN_MS) });
  }

  return {
    see(payload) {
      const session_key = text(payload.sessionKey);
      const { run_id, ms } = runOf(payload);
      if (session_key === undefined || run_id === undefined) return;
      const known = runs.get(session_key);
      if (known?.run_id !== run_id && (isSeen(run_id) || runs.size >= MAX_QUIET)) return;
      clearTimeout(known?.timer);
      const since_ms = known?.run_id === run_id ? known.since_ms : (number(ms) ?? 0) - BEGAN_BEFORE_MS;
      const timer = setTimeout(() => askAbout(session_key, { run_id, since_ms }), QUIET_MS);
      runs.set(session_key, { run_id, since_ms, timer });
    },
    end() {
      for (const { timer } of runs.values()) clearTimeout(timer);
      runs.clear();
    },
  };
}

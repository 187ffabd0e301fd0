/**
 * Which run goes on in each session, as far as has been seen: after a gap it is asked about even where nothing seems to have
 * happened, since a gateway that went down took it with it without a word.
 */
import { addMember, createBoundedSet, hasMember } from '../../capture/bounded.js';
import { type Json, number, object, text } from '../../util/json.js';
import type { OpenRun } from './facts.js';
import { endsRun } from './frames.js';

const MAX_OPEN = 10_000;
/** Runs that are known again when more is told of them. */
const MAX_KNOWN = 20_000;

export interface OpenRuns {
  /** By session key; plain data. */
  readonly open: Record<string, OpenRun>;
  /** Looks at the payload of an agent event. */
  see(payload: Json): void;
  /** Whether any event of this run has been seen. */
  isSeen(run_id: string): boolean;
  /** The session of a run that this event shows to go on, and of which nothing had been seen. Told once. */
  unseen(payload: Json): string | undefined;
}

export function createOpenRuns(known: Record<string, OpenRun> = {}): OpenRuns {
  const open: Record<string, OpenRun> = { ...known };
  let count = Object.keys(open).length;
  const seen = createBoundedSet();
  for (const { run_id } of Object.values(open)) addMember(seen, run_id, MAX_KNOWN);

  function forgetOldest(): void {
    const [oldest] = Object.keys(open);
    if (oldest !== undefined) delete open[oldest];
    count--;
  }

  return {
    open,
    see(payload) {
      const { sessionKey, runId, agentId, ts, stream } = payload;
      const key = text(sessionKey);
      const run_id = text(runId);
      // Protocol 3 names no agent, marks no run's last event, and has no answers to ask for.
      if (key === undefined || run_id === undefined || agentId === undefined) return;
      const known_run = open[key];
      addMember(seen, run_id, MAX_KNOWN);
      if (endsRun(payload)) {
        if (known_run?.run_id !== run_id) return;
        delete open[key];
        count--;
        return;
      }
      if (known_run === undefined && stream !== 'lifecycle') return;
      if (known_run === undefined && ++count > MAX_OPEN) forgetOldest();
      open[key] = { run_id, last_ms: number(ts) ?? known_run?.last_ms ?? 0 };
    },
    isSeen: (run_id) => hasMember(seen, run_id),
    unseen({ runId, sessionKey, agentId, stream, data }) {
      const run_id = text(runId);
      if (run_id === undefined || agentId === undefined || hasMember(seen, run_id)) return undefined;
      // A run begins with this, or is made ready before that.
      if (stream === 'run_status' || object(data).phase === 'start') return undefined;
      addMember(seen, run_id, MAX_KNOWN);
      return text(sessionKey);
    },
  };
}

/**
 * Tracks the open run of each session, as far as events have shown it. After a gap these sessions are asked about even if
 * nothing seems to have happened in them, since a gateway that goes down does not report the end of its runs.
 */
import { addMember, createBoundedSet, hasMember } from '../../capture/bounded.js';
import { type Json, number, object, text } from '../../util/json.js';
import type { OpenRun } from './backfill/facts.js';
import { endsRun } from './connection/frames.js';

const MAX_OPEN = 10_000;
/** Runs that are remembered, to recognise later events of them. */
const MAX_KNOWN = 20_000;

export interface OpenRuns {
  /** By session key; plain data. */
  readonly open: Record<string, OpenRun>;
  /** Takes in the payload of an agent event. */
  see(payload: Json): void;
  /** Forgets the open runs: they are another OpenClaw's. */
  forget(): void;
  /** Whether an agent event of this run has been seen. */
  isSeen(run_id: string): boolean;
  /** The session of a run that this event shows to be open, if nothing of the run had been seen. Returned once per run. */
  unseen(payload: Json): string | undefined;
}

export function createOpenRuns(known: Record<string, OpenRun> = {}): OpenRuns {
  const open: Record<string, OpenRun> = { ...known };
  let count = Object.keys(open).length;
  const seen = createBoundedSet(MAX_KNOWN);
  for (const { run_id } of Object.values(open)) addMember(seen, run_id);

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
      // Protocol 3 names no agent, does not mark a run's last event, and can't be asked about the past.
      if (key === undefined || run_id === undefined || agentId === undefined) return;
      const known_run = open[key];
      addMember(seen, run_id);
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
    forget() {
      for (const key of Object.keys(open)) delete open[key];
      count = 0;
    },
    isSeen: (run_id) => hasMember(seen, run_id),
    unseen({ runId, sessionKey, agentId, stream, seq, data }) {
      const run_id = text(runId);
      if (run_id === undefined || agentId === undefined || hasMember(seen, run_id)) return undefined;
      // A run begins with such an event, or is prepared by one: nothing before it was missed.
      if (seq === 1 || stream === 'run_status' || object(data).phase === 'start') return undefined;
      addMember(seen, run_id);
      return text(sessionKey);
    },
  };
}

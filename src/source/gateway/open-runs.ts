/**
 * Tracks the open run of each session, as far as events have shown it. After a gap these sessions are asked about even if
 * nothing seems to have happened in them, since a gateway that goes down does not report the end of its runs.
 */
import { addMember, createBoundedSet, hasMember } from '../../capture/bounded.js';
import { type Json, number, object, text } from '../../util/json.js';
import type { OpenRun } from './backfill/facts.js';
import { endsRun } from './connection/frames.js';

const MAX_OPEN = 10_000;
/** Open calls of one run that are remembered. */
const MAX_CALLS = 32;
/** Runs that are remembered, to recognise later events of them. */
const MAX_KNOWN = 20_000;

/**
 * Whether an event is the last one of its run, as far as is known: protocol 3 marks none as such. An attempt that has failed may
 * be retried, and begins again then.
 */
function isLast(payload: Json): boolean {
  const { agentId, stream, data } = payload;
  if (agentId !== undefined) return endsRun(payload);
  const { phase } = object(data);
  return stream === 'lifecycle' && (phase === 'end' || phase === 'error');
}

/** In protocol 3 the runs of channels and heartbeats have no agent events: their session reports their start and end. */
const ofReport = ({ sessionKey, runId, agentId, ts, phase }: Json): Json | undefined =>
  agentId === undefined ? { sessionKey, runId, ts, stream: 'lifecycle', data: { phase } } : undefined;

/** Whether an event shows that its run is open. In protocol 3 other events than the start may follow the end. */
const isOpening = ({ agentId, stream, data }: Json): boolean =>
  stream === 'lifecycle' && (agentId !== undefined || object(data).phase === 'start');

/** The open calls of a run after an event. */
function callsAfter(calls: readonly string[], { stream, data }: Json): readonly string[] {
  const { phase, toolCallId } = object(data);
  const call_id = stream === 'tool' ? text(toolCallId) : undefined;
  if (call_id === undefined || (phase !== 'start' && phase !== 'result')) return calls;
  const others = calls.filter((id) => id !== call_id);
  return phase === 'start' ? [...others, call_id].slice(-MAX_CALLS) : others;
}

export interface OpenRuns {
  /** By session key; plain data. */
  readonly open: Record<string, OpenRun>;
  /** Takes in the payload of an agent event. */
  see(payload: Json): void;
  /** Takes in the payload of a tool event. It does not make its run a seen one: if nothing else was seen, there is more to ask. */
  seeCall(payload: Json): void;
  /** Takes in the payload of a session's change. */
  seeChange(payload: Json): void;
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

  function see(payload: Json): void {
    const { sessionKey, runId, agentId, ts } = payload;
    const key = text(sessionKey);
    const run_id = text(runId);
    if (key === undefined || run_id === undefined) return;
    const known_run = open[key];
    addMember(seen, run_id);
    if (isLast(payload)) {
      if (known_run?.run_id !== run_id) return;
      delete open[key];
      count--;
      return;
    }
    if (known_run === undefined && !isOpening(payload)) return;
    if (known_run === undefined && ++count > MAX_OPEN) forgetOldest();
    const last_ms = number(ts) ?? known_run?.last_ms ?? 0;
    const calls = known_run?.run_id === run_id ? known_run.calls : undefined;
    open[key] = {
      run_id,
      last_ms,
      ...(agentId === undefined ? { protocol: 3 } : {}),
      ...(calls === undefined ? {} : { calls }),
    };
  }

  return {
    open,
    see,
    seeCall(payload) {
      const key = text(payload.sessionKey) ?? '';
      const run = open[key];
      if (run === undefined || run.run_id !== payload.runId) return;
      const { calls = [], ...others } = run;
      const open_calls = callsAfter(calls, payload);
      if (open_calls === calls) return;
      open[key] = { ...others, ...(open_calls.length > 0 ? { calls: open_calls } : {}) };
    },
    seeChange(payload) {
      const reported = ofReport(payload);
      if (reported !== undefined) see(reported);
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

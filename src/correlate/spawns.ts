/**
 * Spawns: they link a child's run to the call that started it. A spawn can arrive before or after the child, and more than
 * once, each time with more detail.
 */
import { getEntry, setEntry } from '../capture/bounded.js';
import type { EventOf } from '../model/event.js';
import type { Attributes, SpanReference } from '../model/telemetry.js';
import { isKnownCall } from './calls.js';
import { emitLog } from './emit.js';
import { callSpanId, deriveTraceId, runKey } from './ids.js';
import { spawnerOf } from './parents.js';
import { CALLS, type Run, runReference } from './run-state.js';
import { sessionOf, setSession } from './sessions.js';
import type { Context, Spawn } from './state.js';

type Spawned = EventOf<'subagent.spawned'>;

function mergeSpawn(event: Spawned, known: Spawn | undefined): Spawn {
  const { parent_session_key, parent_run_id, call_id } = event;
  return {
    ...(known?.parent_session_key === parent_session_key ? known : {}),
    parent_session_key,
    ...(parent_run_id === undefined ? {} : { parent_run_id }),
    ...(call_id === undefined ? {} : { call_id }),
  };
}

interface SpawningSpan {
  run: Run;
  reference: SpanReference;
  /** Identity of the spawning call, if it is known; the tool only while the call is open. */
  identity: Attributes;
  /** A better one may still arrive. */
  is_guess: boolean;
}

/** The span that a spawn's log record belongs to: the spawning call, else the parent's run. */
function spawningSpan(context: Context, event: Spawned): SpawningSpan | undefined {
  const { session_key, run_id = '', ts: start_ms } = event;
  const child = { key: runKey(session_key, run_id), run_id, start_ms };
  const spawn = mergeSpawn(event, sessionOf(context, session_key).spawn);
  const { call_id } = spawn;
  const { run, is_guess } = spawnerOf(context, spawn, child);
  if (run === undefined) return undefined;
  if (call_id === undefined || !isKnownCall(context, run, call_id))
    return { run, reference: runReference(run), identity: {}, is_guess };
  return {
    run,
    reference: { trace_id: run.trace_id, span_id: callSpanId(run, call_id) },
    identity: {
      'gen_ai.tool.name': CALLS.find(run.calls, call_id)?.tool,
      'gen_ai.tool.call.id': call_id,
    },
    is_guess,
  };
}

/** Whether the run that made the spawn is open, so that the spawn's log record belongs there. */
export const isMakerKnown = (context: Context, event: Spawned): boolean =>
  spawningSpan(context, event) !== undefined;

/** Emits a spawn's log record: on the spawning span, else on the child's, whether or not the child has been seen. */
export function logSpawn(context: Context, event: Spawned, child: Run | undefined): void {
  if (!context.options.logs) return;
  const { session_key, run_id = '' } = event;
  const spawning = spawningSpan(context, event);
  const run = spawning?.run ?? child;
  const unseen = (): SpanReference => ({
    trace_id: deriveTraceId(session_key, run_id),
    span_id: runKey(session_key, run_id),
  });
  emitLog(context, event, {
    run,
    span: spawning?.reference ?? child ?? unseen(),
    detail: {
      'openclaw.child_session.key': session_key,
      'openclaw.child_run.id': event.run_id,
      ...spawning?.identity,
    },
  });
}

/** Remembers a spawn. True if its log record was emitted at once, on the span that it belongs to. */
export function rememberSpawn(context: Context, event: Spawned): boolean {
  const { state } = context;
  const { session_key, run_id } = event;
  if (run_id === undefined) {
    const session = sessionOf(context, session_key);
    setSession(context, session_key, { ...session, spawn: mergeSpawn(event, session.spawn) });
  } else {
    const key = runKey(session_key, run_id);
    setEntry(state.spawns, key, mergeSpawn(event, getEntry(state.spawns, key)));
  }
  if (spawningSpan(context, event)?.is_guess !== false) return false;
  logSpawn(context, event, undefined);
  return true;
}

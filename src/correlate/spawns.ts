/**
 * Spawns: what ties a child's run under the call that started it. A spawn can come before or after the child, and more than
 * once, each time with a little more.
 */
import { getEntry, setEntry } from '../capture/bounded.js';
import type { EventOf } from '../model/event.js';
import type { Attributes, SpanReference } from '../model/telemetry.js';
import { callSpanId, isKnownCall } from './calls.js';
import { emitLog } from './emit.js';
import { CALLS } from './forms.js';
import { deriveTraceId, runKey } from './ids.js';
import { spawnerOf } from './parents.js';
import { type Run, runReference, type Spawn, type Step, sessionOf, setSession } from './state.js';

type Spawned = EventOf<'subagent.spawned'>;

function spawnOf(event: Spawned, known: Spawn | undefined): Spawn {
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
  /** What tells the call from others, where it is one; the tool as far as the call is still open. */
  identity: Attributes;
  /** A better one may be to come. */
  is_guess: boolean;
}

/** The span that a spawn's record belongs to: the spawning call, else the parent's run. */
function spawningSpan(step: Step, event: Spawned): SpawningSpan | undefined {
  const { session_key, run_id = '', call_id, ts: start_ms } = event;
  const child = { key: runKey(session_key, run_id), run_id, start_ms };
  const { run, is_guess } = spawnerOf(step, spawnOf(event, undefined), child);
  if (run === undefined) return undefined;
  if (call_id === undefined || !isKnownCall(step, run, call_id))
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

/** Gives out a spawn's record: on the spawning span, else on the child's, seen or not. */
export function logSpawn(step: Step, event: Spawned, child: Run | undefined): void {
  if (!step.options.logs) return;
  const { session_key, run_id = '' } = event;
  const spawning = spawningSpan(step, event);
  const run = spawning?.run ?? child;
  const unseen = (): SpanReference => ({
    trace_id: deriveTraceId(session_key, run_id),
    span_id: runKey(session_key, run_id),
  });
  emitLog(step, event, {
    run,
    span: spawning?.reference ?? child ?? unseen(),
    detail: {
      'openclaw.child_session.key': session_key,
      'openclaw.child_run.id': event.run_id,
      ...spawning?.identity,
    },
  });
}

/** Remembers a spawn; true where its record could be given out at once, on the span that it belongs to. */
export function rememberSpawn(step: Step, event: Spawned): boolean {
  const { state, options } = step;
  const { session_key, run_id } = event;
  if (run_id === undefined) {
    const session = sessionOf(step, session_key);
    setSession(step, session_key, { ...session, spawn: spawnOf(event, session.spawn) });
  } else {
    const key = runKey(session_key, run_id);
    setEntry(state.spawns, key, spawnOf(event, getEntry(state.spawns, key)), options.limits.spawns);
  }
  if (spawningSpan(step, event)?.is_guess !== false) return false;
  logSpawn(step, event, undefined);
  return true;
}

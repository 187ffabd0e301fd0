/**
 * Which step belongs to which model call. A step tells that a call began, `llm.tokens` that one ended, and nothing names
 * both. In order it is plain; where events change places it is found again from their times, each time one comes.
 */
import type { EndedCall, OpenStep, Run } from './state.js';

/** A message and its step's event are of two clocks, which differ by this much at most. */
const SAME_CALL_MS = 50;

/** Steps, and ended calls, of one run that are remembered to be matched. */
const MAX_REMEMBERED = 64;

/** The step that the run is in: begun, not ended by its call, and not followed by another. */
export const currentStep = (run: Run): OpenStep | undefined => {
  const last = run.steps.at(-1);
  return last?.superseded === false && !last.taken ? last : undefined;
};

const byStart = (a: OpenStep, b: OpenStep): number => a.start_ms - b.start_ms;
const byEnd = (a: EndedCall, b: EndedCall): number => a.end_ms - b.end_ms;

/** A message tells exactly when its call began; other calls end whatever step their run is in. */
const canEnd = (call: EndedCall, step: OpenStep | undefined): step is OpenStep =>
  step !== undefined && (call.start_ms === undefined || step.start_ms >= call.start_ms - SAME_CALL_MS);

/** Goes through time: each call ends the latest step before its end that no earlier call has ended. */
function matchSteps(run: Run): Map<EndedCall, OpenStep> {
  const matches = new Map<EndedCall, OpenStep>();
  const begun: OpenStep[] = [];
  let next = 0;
  for (const call of run.ended_calls) {
    for (let step = run.steps[next]; step && step.start_ms <= call.end_ms; step = run.steps[++next])
      begun.push(step);
    const latest = begun.at(-1);
    if (canEnd(call, latest)) {
      matches.set(call, latest);
      begun.pop();
    }
  }
  return matches;
}

/** Steps that no call has ended, as far as is known. */
export function unmatchedSteps(run: Run): OpenStep[] {
  const matched = new Set(matchSteps(run).values());
  return run.steps.filter((step) => !matched.has(step));
}

export function addStep(run: Run, step: OpenStep): void {
  run.steps.push(step);
  run.steps.sort(byStart);
}

/** Remembers a call that has ended; gives the step that it ended. */
export function addEndedCall(run: Run, call: EndedCall): OpenStep | undefined {
  run.ended_calls.push(call);
  run.ended_calls.sort(byEnd);
  const matches = matchSteps(run);
  const step = matches.get(call);
  if (run.ended_calls.length > MAX_REMEMBERED) forgetOldest(run, matches);
  return step;
}

/** A call is forgotten together with its step, or the step would look as if its call had never come. */
function forgetOldest(run: Run, matches: Map<EndedCall, OpenStep>): void {
  const oldest = run.ended_calls.shift();
  const step = oldest && matches.get(oldest);
  if (step !== undefined) removeStep(run, step);
}

export function removeStep(run: Run, step: OpenStep): void {
  run.steps.splice(run.steps.indexOf(step), 1);
}

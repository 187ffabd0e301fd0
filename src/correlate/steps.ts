/**
 * Matches steps to model calls. A step marks the beginning of a call, `llm.tokens` its end, and nothing names both. For events
 * in order the match is obvious; for others it is computed anew from their times with each event that arrives.
 */
import { added, type EndedCall, type OpenStep, type Run } from './run-state.js';

/** A message and its step's event have timestamps of two clocks, which differ by this much at most. */
const SAME_CALL_MS = 50;

/** Ended calls of one run that are remembered, with their steps, for matching. */
const MAX_REMEMBERED = 64;

/** Steps of one run, including those that calls have ended. */
const MAX_STEPS = 1_000;

/** The step that the run is in: begun, not ended by its call, and not followed by another. */
export const currentStep = (run: Run): OpenStep | undefined => {
  const last = run.steps.at(-1);
  return last?.superseded === false && !last.taken ? last : undefined;
};

const byStart = (a: OpenStep, b: OpenStep): number => a.start_ms - b.start_ms;
const byEnd = (a: EndedCall, b: EndedCall): number => a.end_ms - b.end_ms;

/** Whether both have the same timestamp; then sequence numbers decide which was first. */
const isTie = (step: OpenStep, call: EndedCall): boolean => step.start_ms === call.end_ms;

const haveNumbers = (step: OpenStep, call: EndedCall): boolean =>
  step.seq !== undefined && call.seq !== undefined;

const isBefore = (step: OpenStep, call: EndedCall): boolean =>
  step.start_ms < call.end_ms || (isTie(step, call) && (step.seq ?? Infinity) < (call.seq ?? -Infinity));

/** Whether the step is older than a call that states its own start. */
const isOlder = (step: OpenStep, { start_ms = -Infinity }: EndedCall): boolean =>
  step.start_ms < start_ms - SAME_CALL_MS;

/**
 * Whether the step had failed before the call. Then a call that succeeded, or that began after the failure, can't be its own.
 */
const failedBefore = ({ failed_ms = Infinity }: OpenStep, call: EndedCall): boolean =>
  call.has_failed ? failed_ms <= (call.start_ms ?? -Infinity) : failed_ms < call.end_ms;

/**
 * A message knows when its call began, so an older step is not its own. Other sources may mean another time by the start: their
 * call ends the step that was current at their start.
 */
function canEnd(call: EndedCall, step: OpenStep, next: OpenStep | undefined): boolean {
  if (failedBefore(step, call)) return false;
  if (!isOlder(step, call)) return true;
  return !call.is_message && (next?.start_ms ?? Infinity) > (call.start_ms ?? -Infinity);
}

/**
 * The latest step before the call's end that no earlier call has ended, if the call can end it; else a step that began exactly
 * when the call ended, if sequence numbers don't decide which was first.
 */
function stepOf(call: EndedCall, begun: readonly OpenStep[]): OpenStep | undefined {
  const at = begun.findLastIndex((step) => step.ended_by === undefined && isBefore(step, call));
  const latest = begun[at];
  if (latest !== undefined && canEnd(call, latest, begun[at + 1])) return latest;
  return begun.findLast(
    (step) => step.ended_by === undefined && isTie(step, call) && !haveNumbers(step, call),
  );
}

function match(run: Run, call: EndedCall): void {
  const step = stepOf(call, run.steps);
  if (step !== undefined) step.ended_by = call;
}

/** Matches in order of time: each call ends the latest step before its end that no earlier call has ended. */
function matchAll(run: Run): void {
  for (const step of run.steps) step.ended_by = undefined;
  for (const call of run.ended_calls) match(run, call);
}

/** To be called when a failure of the step was added or removed: calls that ended after it began may now match differently. */
export function rematch(run: Run, { start_ms }: OpenStep): void {
  if ((run.ended_calls.at(-1)?.end_ms ?? -Infinity) >= start_ms) matchAll(run);
}

/** If the run has reached its limit of steps: the oldest that no call has ended, to be emitted. */
export const stepToGiveUp = (run: Run): OpenStep | undefined =>
  run.steps.length < MAX_STEPS ? undefined : run.steps.find((step) => step.ended_by === undefined);

/** Steps that no call has ended, as far as is known. */
export const unmatchedSteps = (run: Run): OpenStep[] =>
  run.steps.filter((step) => step.ended_by === undefined);

export const hasUnmatchedStep = (run: Run): boolean => run.steps.some((step) => step.ended_by === undefined);

/** Adds a step. One that begins after everything known does not change any match. */
export function addStep(run: Run, step: OpenStep): void {
  const { steps, ended_calls } = run;
  const isLast =
    step.start_ms >= (steps.at(-1)?.start_ms ?? -Infinity) &&
    step.start_ms > (ended_calls.at(-1)?.end_ms ?? -Infinity);
  run.steps = added(steps, step);
  if (isLast) return;
  run.steps = run.steps.toSorted(byStart);
  matchAll(run);
}

/** Adds an ended call and returns the step that it ended. One that ends after all others does not change their matches. */
export function addEndedCall(run: Run, call: EndedCall): OpenStep | undefined {
  const isLast = call.end_ms >= (run.ended_calls.at(-1)?.end_ms ?? -Infinity);
  run.ended_calls = added(run.ended_calls, call);
  if (isLast) match(run, call);
  else {
    run.ended_calls = run.ended_calls.toSorted(byEnd);
    matchAll(run);
  }
  const step = run.steps.findLast((each) => each.ended_by === call);
  if (run.ended_calls.length > MAX_REMEMBERED) forgetOldest(run);
  return step;
}

/**
 * When the call with this sequence number began: with the step that it ended, as far as is known, else when it ended. Undefined
 * if it has been forgotten.
 */
export function startOfNumbered(run: Run, seq: number): number | undefined {
  const call = run.ended_calls.find((each) => each.seq === seq);
  return call && (run.steps.find(({ ended_by }) => ended_by === call)?.start_ms ?? call.end_ms);
}

/** A call is forgotten together with its step; otherwise the step would look as if its call had never arrived. */
function forgetOldest(run: Run): void {
  const [oldest, ...others] = run.ended_calls;
  const step = run.steps.find(({ ended_by }) => ended_by === oldest);
  run.ended_calls = others;
  if (step !== undefined) removeStep(run, step);
}

/** The latest step whose announced start is at or before this time. */
const begunBy = (run: Run, ms: number): OpenStep | undefined =>
  run.steps.findLast(({ announced, start_ms }) => announced && start_ms <= ms);

const hasOpenEnd = ({ taken, ended_by }: OpenStep): boolean => !taken && ended_by === undefined;

/** Whether the matched call could not have ended this step, had its failure at `failed_ms` been known. */
const endedUnknown = (step: OpenStep, failed_ms: number): boolean =>
  step.ended_by !== undefined && !canEnd(step.ended_by, { ...step, failed_ms }, undefined);

/** The step that failed at this time: the latest that had begun, unless it had failed or ended before. */
export function failingStep(run: Run, failed_ms: number): OpenStep | undefined {
  const step = begunBy(run, failed_ms);
  if (step === undefined) return undefined;
  if (endedUnknown(step, failed_ms)) return step;
  if (!hasOpenEnd(step)) return undefined;
  return (step.failed_ms ?? Infinity) > failed_ms ? step : undefined;
}

/** Whether the step failed after the call that ended it was over: then another attempt failed. */
export const failedAfter = (step: OpenStep, call: EndedCall): step is OpenStep & { failed_ms: number } =>
  (step.failed_ms ?? -Infinity) > call.end_ms + SAME_CALL_MS;

/** The latest step begun by this time, if it failed after it: then a step that begins now is the one that failed. */
export function failedLater(run: Run, ms: number): OpenStep | undefined {
  const step = begunBy(run, ms);
  return step !== undefined && hasOpenEnd(step) && (step.failed_ms ?? ms) > ms ? step : undefined;
}

/** When a step was first reported to exist: its announced start, else its failure. */
const shownMs = ({ announced, start_ms, failed_ms = start_ms }: OpenStep): number =>
  announced ? start_ms : failed_ms;

/** The first step reported after this time. */
function nextStep(run: Run, ms: number): OpenStep | undefined {
  let next: OpenStep | undefined;
  for (const step of run.steps)
    if (shownMs(step) > ms && (next === undefined || shownMs(step) < shownMs(next))) next = step;
  return next;
}

/** If the next step reported after this time is only known by its failure: sets its start, and returns it. */
export function beginFailed(run: Run, start_ms: number, seq: number | undefined): OpenStep | undefined {
  const next = nextStep(run, start_ms);
  if (next === undefined || next.announced) return undefined;
  next.announced = true;
  next.start_ms = start_ms;
  next.seq = seq;
  run.steps = run.steps.toSorted(byStart);
  matchAll(run);
  return next;
}

export function removeStep(run: Run, step: OpenStep): void {
  run.steps = run.steps.filter((each) => each !== step);
}

/** Removes the steps for which `isKept` is false, whether or not a call has ended them. */
export function keepSteps(run: Run, isKept: (step: OpenStep) => boolean): void {
  const kept = run.steps.filter(isKept);
  if (kept.length === run.steps.length) return;
  run.steps = kept;
  matchAll(run);
}

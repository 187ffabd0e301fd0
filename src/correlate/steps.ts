/**
 * Which step belongs to which model call. A step tells that a call began, `llm.tokens` that one ended, and nothing names
 * both. In order it is plain; where events change places it is found again from their times, each time one comes.
 */
import { added, type EndedCall, type OpenStep, type Run } from './state.js';

/** A message and its step's event are of two clocks, which differ by this much at most. */
const SAME_CALL_MS = 50;

/** Steps, and ended calls, of one run that are remembered to be matched. */
const MAX_REMEMBERED = 64;

/** Steps of one run, those among them that calls have ended. */
const MAX_STEPS = 1_000;

/** The step that the run is in: begun, not ended by its call, and not followed by another. */
export const currentStep = (run: Run): OpenStep | undefined => {
  const last = run.steps.at(-1);
  return last?.superseded === false && !last.taken ? last : undefined;
};

const byStart = (a: OpenStep, b: OpenStep): number => a.start_ms - b.start_ms;
const byEnd = (a: EndedCall, b: EndedCall): number => a.end_ms - b.end_ms;

/** Whether both are of one instant: then their numbers tell which was first. */
const isTie = (step: OpenStep, call: EndedCall): boolean => step.start_ms === call.end_ms;

const haveNumbers = (step: OpenStep, call: EndedCall): boolean =>
  step.seq !== undefined && call.seq !== undefined;

const isBefore = (step: OpenStep, call: EndedCall): boolean =>
  step.start_ms < call.end_ms || (isTie(step, call) && (step.seq ?? Infinity) < (call.seq ?? -Infinity));

/** The step is older than a call that tells its own start. */
const isOlder = (step: OpenStep, { start_ms = -Infinity }: EndedCall): boolean =>
  step.start_ms < start_ms - SAME_CALL_MS;

/** The step had failed before the call: one that succeeded can't be the step's, nor can one that says that it began later. */
const failedBefore = ({ failed_ms = Infinity }: OpenStep, call: EndedCall): boolean =>
  call.has_failed ? failed_ms <= (call.start_ms ?? -Infinity) : failed_ms < call.end_ms;

/**
 * A message tells when its call was made, and its step is no older. Who else tells a start may mean another instant than the step
 * does: the call ends the step that its run was in when it began.
 */
function canEnd(call: EndedCall, step: OpenStep, next: OpenStep | undefined): boolean {
  if (failedBefore(step, call)) return false;
  if (!isOlder(step, call)) return true;
  return !call.is_message && (next?.start_ms ?? Infinity) > (call.start_ms ?? -Infinity);
}

/**
 * The latest step before the call's end that no earlier call has ended, if the call can end that one; else one that began as the
 * call ended, where nothing tells which was first.
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

/** Goes through time: each call ends the latest step before its end that no earlier call has ended. */
function matchAll(run: Run): void {
  for (const step of run.steps) step.ended_by = undefined;
  for (const call of run.ended_calls) match(run, call);
}

/** It has become known that the step failed, or that it did not: calls that ended after it began may be matched otherwise. */
export function rematch(run: Run, { start_ms }: OpenStep): void {
  if ((run.ended_calls.at(-1)?.end_ms ?? -Infinity) >= start_ms) matchAll(run);
}

/** Over the bound: the step to be given out, the oldest that no call has ended. */
export const stepToGiveUp = (run: Run): OpenStep | undefined =>
  run.steps.length < MAX_STEPS ? undefined : run.steps.find((step) => step.ended_by === undefined);

/** Steps that no call has ended, as far as is known. */
export const unmatchedSteps = (run: Run): OpenStep[] =>
  run.steps.filter((step) => step.ended_by === undefined);

export const hasUnmatchedStep = (run: Run): boolean => run.steps.some((step) => step.ended_by === undefined);

/** A step that begins after all that is known changes nothing of it. */
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

/** Remembers a call that has ended; gives the step that it ended. One that ends after all others changes nothing of theirs. */
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

/** A call is forgotten together with its step, or the step would look as if its call had never come. */
function forgetOldest(run: Run): void {
  const [oldest, ...others] = run.ended_calls;
  const step = run.steps.find(({ ended_by }) => ended_by === oldest);
  run.ended_calls = others;
  if (step !== undefined) removeStep(run, step);
}

/** The latest step that was told to begin by then. */
const begunBy = (run: Run, ms: number): OpenStep | undefined =>
  run.steps.findLast(({ announced, start_ms }) => announced && start_ms <= ms);

const hasOpenEnd = ({ taken, ended_by }: OpenStep): boolean => !taken && ended_by === undefined;

/** The call that has ended the step would not have done so, had it been known that the step failed at this instant. */
const endedUnknown = (step: OpenStep, failed_ms: number): boolean =>
  step.ended_by !== undefined && !canEnd(step.ended_by, { ...step, failed_ms }, undefined);

/** The step that fails at this instant, if it has not failed or ended before: the latest that has begun. */
export function failingStep(run: Run, failed_ms: number): OpenStep | undefined {
  const step = begunBy(run, failed_ms);
  if (step === undefined) return undefined;
  if (endedUnknown(step, failed_ms)) return step;
  if (!hasOpenEnd(step)) return undefined;
  return (step.failed_ms ?? Infinity) > failed_ms ? step : undefined;
}

/** Whether the step failed when the call that has ended it was over: so it was another attempt that failed. */
export const failedAfter = (step: OpenStep, call: EndedCall): step is OpenStep & { failed_ms: number } =>
  (step.failed_ms ?? -Infinity) > call.end_ms + SAME_CALL_MS;

/** The step before this instant that has failed after it: so a step that begins now is the one that failed. */
export function failedLater(run: Run, ms: number): OpenStep | undefined {
  const step = begunBy(run, ms);
  return step !== undefined && hasOpenEnd(step) && (step.failed_ms ?? ms) > ms ? step : undefined;
}

/** When a step showed itself first. */
const shownMs = ({ announced, start_ms, failed_ms = start_ms }: OpenStep): number =>
  announced ? start_ms : failed_ms;

/** The first step that showed itself after this instant. */
function nextStep(run: Run, ms: number): OpenStep | undefined {
  let next: OpenStep | undefined;
  for (const step of run.steps)
    if (shownMs(step) > ms && (next === undefined || shownMs(step) < shownMs(next))) next = step;
  return next;
}

/** Begins, by its event, the step whose failure alone was known, if the next that happens after this instant is such a failure. */
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

/** Leaves out steps, whether or not a call has ended them. */
export function keepSteps(run: Run, isKept: (step: OpenStep) => boolean): void {
  const kept = run.steps.filter(isKept);
  if (kept.length === run.steps.length) return;
  run.steps = kept;
  matchAll(run);
}

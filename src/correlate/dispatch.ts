/**
 * What each type of event does to its run.
 */
import type { AgentEvent } from '../model/event.js';
import { onToolCall, onToolEnd } from './calls.js';
import { onStepStarted, onTokens } from './chats.js';
import { onReasoning } from './reasoning.js';
import { onFinished, onStarted, onSubagentFinished, onSubagentOutput, touch } from './runs.js';
import { logSpawn } from './spawns.js';
import type { Run, Step } from './state.js';

/** Applies an event to its open or remembered run; a spawn may have none. */
export function dispatch(step: Step, run: Run | undefined, event: AgentEvent): void {
  if (event.type === 'subagent.spawned') return logSpawn(step, event, run);
  if (run === undefined) return;
  // A start of a run that is open changes nothing: not even when it showed life last.
  if (event.type === 'agent.started') return onStarted(step, run, event);
  touch(step, run, event.ts);
  switch (event.type) {
    case 'agent.step_started':
      return onStepStarted(step, run, event);
    case 'agent.finished':
      return onFinished(step, run, event);
    case 'tool.call':
      return onToolCall(step, run, event);
    case 'tool.output':
    case 'tool.error':
      return onToolEnd(step, run, event);
    case 'subagent.output':
      return onSubagentOutput(step, run, event);
    case 'subagent.finished':
      return onSubagentFinished(step, run, event);
    case 'llm.tokens':
      return onTokens(step, run, event);
    case 'llm.reasoning':
      return onReasoning(step, run, event);
  }
}

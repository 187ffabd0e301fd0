/**
 * Applies each type of event to its run.
 */
import type { AgentEvent } from '../model/event.js';
import { onToolCall, onToolEnd } from './calls.js';
import { onStepStarted, onTokens } from './chats.js';
import { onReasoning } from './reasoning.js';
import type { Run } from './run-state.js';
import { keepOpen, onFinished, onStarted, onSubagentFinished, onSubagentOutput, touch } from './runs.js';
import { logSpawn } from './spawns.js';
import type { Context } from './state.js';

/** Applies an event to its live or archived run; only a spawn may have none. */
export function dispatch(context: Context, run: Run | undefined, event: AgentEvent): void {
  if (event.type === 'subagent.spawned') return logSpawn(context, event, run);
  if (run === undefined) return;
  keepOpen(run, event);
  // A start of a run that is open changes nothing else, not even the time of its last activity.
  if (event.type === 'agent.started') return onStarted(context, run, event);
  touch(context, run, event.ts);
  switch (event.type) {
    case 'agent.step_started':
      return onStepStarted(context, run, event);
    case 'agent.finished':
      return onFinished(context, run, event);
    case 'tool.call':
      return onToolCall(context, run, event);
    case 'tool.output':
    case 'tool.error':
      return onToolEnd(context, run, event);
    case 'subagent.output':
      return onSubagentOutput(context, run, event);
    case 'subagent.finished':
      return onSubagentFinished(context, run, event);
    case 'llm.tokens':
      return onTokens(context, run, event);
    case 'llm.reasoning':
      return onReasoning(context, run, event);
  }
}

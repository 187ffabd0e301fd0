/**
 * The attribute tables: from a run, a tool call or a model call to the attributes of its span, its log records and its
 * measurements, under the names of the current GenAI conventions and, where they have none, under `openclaw.`.
 */
import type { EventOf } from '../model/event.js';
import type { Attributes, AttributeValue } from '../model/telemetry.js';
import type { NamedCall, OpenCall, Reasoning, Run } from './run-state.js';
import type { Session } from './state.js';

/** The agent's display name: a sub-agent's label if it has one, else the agent's id. */
export const agentName = (run: Run, session: Session): string => session.label ?? run.agent_id;

/** The conversation id: the session's id as of this run if it is known, else its key. */
const conversation = (run: Run, session: Session): string =>
  run.ended?.session_id ?? run.rare.session_id ?? session.session_id ?? run.session_key;

/** Attributes of every log record of a run. */
export const runLogIdentity = (run: Run, session: Session): Attributes => ({
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': agentName(run, session),
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': conversation(run, session),
});

const messages = (role: string, type: string, content: string): string =>
  JSON.stringify([{ role, parts: [{ type, content }] }]);

export interface RunEnd {
  stop_reason?: string | undefined;
  output?: { text: string; size_bytes: number } | undefined;
}

// Each table is one literal, and the common lines are repeated: an object composed of others takes five times as long, and with
// the V8 of Node 20 ten times and more if properties follow a spread.

export const runAttributes = (run: Run, session: Session, end?: RunEnd): Attributes => ({
  'gen_ai.operation.name': 'invoke_agent',
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': agentName(run, session),
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': conversation(run, session),
  'openclaw.parent_session.key': run.descent?.parent_session_key,
  'openclaw.trigger': run.trigger,
  'openclaw.channel': session.channel,
  'openclaw.stop_reason': end?.stop_reason,
  'openclaw.partial': run.is_partial || undefined,
  'openclaw.late': run.descent?.is_late || undefined,
  'openclaw.gap': run.has_gap || undefined,
  'gen_ai.input.messages': run.rare.input && messages('user', 'text', run.rare.input.text),
  'openclaw.input.size_bytes': run.rare.input?.size_bytes,
  'gen_ai.output.messages': end?.output && messages('assistant', 'text', end.output.text),
  'openclaw.output.size_bytes': end?.output?.size_bytes,
});

export const chatLogIdentity = (
  provider: AttributeValue | undefined,
  model: AttributeValue | undefined,
): Attributes => ({
  'gen_ai.provider.name': provider,
  'gen_ai.request.model': model,
});

export const callLogIdentity = (run: Run, session: Session, call: NamedCall): Attributes => ({
  'gen_ai.tool.name': call.tool,
  'gen_ai.tool.call.id': call.call_id,
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': agentName(run, session),
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': conversation(run, session),
});

export interface CallEnd {
  exit_code: number | undefined;
  result: { text: string; size_bytes: number } | undefined;
  is_partial: boolean;
}

export const callAttributes = (run: Run, session: Session, call: OpenCall, end?: CallEnd): Attributes => ({
  'gen_ai.operation.name': 'execute_tool',
  'gen_ai.agent.name': agentName(run, session),
  'gen_ai.tool.name': call.tool,
  'gen_ai.tool.call.id': call.call_id,
  'gen_ai.agent.id': run.agent_id,
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': conversation(run, session),
  'openclaw.tool.exit_code': end?.exit_code,
  'openclaw.partial': end?.is_partial || undefined,
  'openclaw.late': call.is_late || undefined,
  'gen_ai.tool.call.arguments': call.arguments?.text,
  'openclaw.input.size_bytes': call.arguments?.size_bytes,
  'gen_ai.tool.call.result': end?.result?.text,
  'openclaw.output.size_bytes': end?.result?.size_bytes,
});

/** A model call. `usage` is absent if it failed before any tokens were counted. */
export interface ModelCall {
  model: string;
  provider: string;
  usage?: EventOf<'llm.tokens'> | undefined;
  reasoning: Reasoning;
  response_id?: string | undefined;
  finish_reason?: string | undefined;
  is_late: boolean;
}

/** Name of a model or provider that is not known. */
export const UNKNOWN = 'unknown';

/** Attributes of every measurement of a model call. */
export const chatLabels = (
  run: Run,
  session: Session,
  call: Pick<ModelCall, 'model' | 'provider'>,
  error_type?: string,
): Attributes => ({
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': call.provider,
  'gen_ai.request.model': call.model,
  'gen_ai.agent.name': agentName(run, session),
  'error.type': error_type,
});

const reasoningMessages = ({ text }: Reasoning): string | undefined =>
  text && messages('assistant', 'reasoning', text);

/** A call's attributes with additional reasoning; where that has no value, the previous one stays. */
export const withReasoning = (attributes: Attributes, reasoning: Reasoning): Attributes => ({
  ...attributes,
  'gen_ai.usage.reasoning.output_tokens':
    reasoning.tokens ?? attributes['gen_ai.usage.reasoning.output_tokens'],
  'openclaw.reasoning.duration_ms': reasoning.duration_ms ?? attributes['openclaw.reasoning.duration_ms'],
  'gen_ai.output.messages': reasoningMessages(reasoning) ?? attributes['gen_ai.output.messages'],
  'openclaw.reasoning.size_bytes': reasoning.size_bytes ?? attributes['openclaw.reasoning.size_bytes'],
});

export const chatAttributes = (run: Run, session: Session, call: ModelCall): Attributes => ({
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': call.provider,
  'gen_ai.request.model': call.model,
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': agentName(run, session),
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': conversation(run, session),
  'gen_ai.usage.input_tokens': call.usage?.input_tokens,
  'gen_ai.usage.output_tokens': call.usage?.output_tokens,
  'gen_ai.usage.cache_read.input_tokens': call.usage?.cache_read_tokens,
  'gen_ai.usage.cache_write.input_tokens': call.usage?.cache_write_tokens,
  'openclaw.cost_usd': call.usage?.cost_usd,
  'gen_ai.usage.reasoning.output_tokens': call.reasoning.tokens,
  'openclaw.reasoning.duration_ms': call.reasoning.duration_ms,
  'gen_ai.output.messages': reasoningMessages(call.reasoning),
  'openclaw.reasoning.size_bytes': call.reasoning.size_bytes,
  'gen_ai.response.id': call.response_id,
  'gen_ai.response.finish_reasons': call.finish_reason === undefined ? undefined : [call.finish_reason],
  'openclaw.late': call.is_late || undefined,
});

/**
 * The tables from what is known of a run, a call or a model call to the attributes of its span, under the names of the
 * current GenAI conventions and, where they have none, under `openclaw.`.
 */
import type { EventOf } from '../model/event.js';
import type { Attributes, AttributeValue } from '../model/telemetry.js';
import type { OpenCall, Reasoning, Run, Session } from './state.js';

type Facts = Record<string, AttributeValue | undefined>;

/** Leaves out what is not known. */
export function attributes(facts: Facts): Attributes {
  const known: Attributes = {};
  for (const name in facts) {
    const value = facts[name];
    if (value !== undefined) known[name] = value;
  }
  return known;
}

/** The agent as people call it: a sub-agent's label where it has one, else the agent's id. */
export const agentName = (run: Run, session: Session): string => session.label ?? run.agent_id;

/** What marks each span of a sub-agent. */
export const subagentMark = ({ parent_agent_id }: Run): { parent_agent_id?: string } =>
  parent_agent_id === undefined ? {} : { parent_agent_id };

/** What every span and log record of a run carries. The conversation is the session's id where one is known. */
export const runIdentity = (run: Run, session: Session): Attributes => ({
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': session.session_id ?? run.session_key,
});

export const runLogIdentity = (run: Run, session: Session): Attributes => ({
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': agentName(run, session),
  ...runIdentity(run, session),
});

const messages = (role: string, type: string, content: string): string =>
  JSON.stringify([{ role, parts: [{ type, content }] }]);

export interface RunEnd {
  stop_reason?: string;
  output?: { text: string; size_bytes: number };
}

export const runAttributes = (run: Run, session: Session, end?: RunEnd): Attributes =>
  attributes({
    'gen_ai.operation.name': 'invoke_agent',
    ...runLogIdentity(run, session),
    'openclaw.parent_session.key': run.parent_session_key,
    'openclaw.trigger': run.trigger,
    'openclaw.channel': session.channel,
    'openclaw.stop_reason': end?.stop_reason,
    'openclaw.partial': run.partial || undefined,
    'openclaw.late': run.late || undefined,
    'openclaw.gap': run.gap || undefined,
    'gen_ai.input.messages': run.input && messages('user', 'text', run.input.text),
    'openclaw.input.size_bytes': run.input?.size_bytes,
    'gen_ai.output.messages': end?.output && messages('assistant', 'text', end.output.text),
    'openclaw.output.size_bytes': end?.output?.size_bytes,
  });

export const callLogIdentity = (
  run: Run,
  session: Session,
  call: Pick<OpenCall, 'tool' | 'call_id'>,
): Attributes => ({
  'gen_ai.tool.name': call.tool,
  'gen_ai.tool.call.id': call.call_id,
  'gen_ai.agent.id': run.agent_id,
  ...runIdentity(run, session),
});

export interface CallEnd {
  exit_code?: number;
  result?: { text: string; size_bytes: number };
  partial?: boolean;
}

export const callAttributes = (run: Run, session: Session, call: OpenCall, end?: CallEnd): Attributes =>
  attributes({
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.agent.name': agentName(run, session),
    ...callLogIdentity(run, session, call),
    'openclaw.tool.exit_code': end?.exit_code,
    'openclaw.partial': end?.partial || undefined,
    'openclaw.late': call.late || undefined,
    'gen_ai.tool.call.arguments': call.arguments?.text,
    'openclaw.input.size_bytes': call.arguments?.size_bytes,
    'gen_ai.tool.call.result': end?.result?.text,
    'openclaw.output.size_bytes': end?.result?.size_bytes,
  });

/** What is known of a model call; tokens are left out where it failed before any were counted. */
export interface ModelCall {
  model: string;
  provider: string;
  usage?: EventOf<'llm.tokens'>;
  reasoning: Reasoning;
  response_id?: string;
  finish_reason?: string;
  late: boolean;
}

function usageFacts(usage: EventOf<'llm.tokens'> | undefined): Facts {
  return {
    'gen_ai.usage.input_tokens': usage?.input_tokens,
    'gen_ai.usage.output_tokens': usage?.output_tokens,
    'gen_ai.usage.cache_read.input_tokens': usage?.cache_read_tokens,
    'gen_ai.usage.cache_write.input_tokens': usage?.cache_write_tokens,
    'openclaw.cost_usd': usage?.cost_usd,
  };
}

export const reasoningAttributes = (reasoning: Reasoning): Attributes =>
  attributes({
    'gen_ai.usage.reasoning.output_tokens': reasoning.tokens,
    'openclaw.reasoning.duration_ms': reasoning.duration_ms,
    'gen_ai.output.messages': reasoning.text && messages('assistant', 'reasoning', reasoning.text),
  });

export const chatAttributes = (run: Run, session: Session, call: ModelCall): Attributes =>
  attributes({
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': call.provider,
    'gen_ai.request.model': call.model,
    'gen_ai.agent.id': run.agent_id,
    'gen_ai.agent.name': agentName(run, session),
    ...runIdentity(run, session),
    ...usageFacts(call.usage),
    ...reasoningAttributes(call.reasoning),
    'gen_ai.response.id': call.response_id,
    'gen_ai.response.finish_reasons': call.finish_reason === undefined ? undefined : [call.finish_reason],
    'openclaw.late': call.late || undefined,
  });

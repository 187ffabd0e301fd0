/**
 * Profile `clawmetry`: what ClawMetry's receiver understands. It adds up the tokens and costs that it finds in any signal, so
 * only chat spans carry them: log records with tokens are not sent, and no metric has a name that it reads.
 */
import type { AttributeValue, LogRecord, SpanRecord } from '../../model/telemetry.js';
import { LATEST_METRICS } from './latest.js';
import type { Derived, Profile } from './table.js';

const AGENT_ID = 'gen_ai.agent.id';
const AGENT_NAME = 'gen_ai.agent.name';
const CONVERSATION = 'gen_ai.conversation.id';
const PROVIDER = 'gen_ai.provider.name';
const CACHE_READ = 'gen_ai.usage.cache_read.input_tokens';
const CACHE_WRITE = 'gen_ai.usage.cache_write.input_tokens';
const SESSION_KEY = 'openclaw.session.key';

/** Providers for which ClawMetry prices cached tokens in addition to the input; by the conventions they are part of it. */
const CACHE_BESIDE_INPUT: ReadonlySet<AttributeValue | undefined> = new Set(['anthropic']);

/** If a session id contains a colon, ClawMetry takes the text before it for the name of a runtime. */
const withoutColons = (value: AttributeValue): AttributeValue => String(value).replaceAll(':', '.');

/** The first run of a sub-agent; one that continues after a yield is not a spawn. */
const isSpawnedRun = (span: SpanRecord): boolean =>
  span.kind === 'run' && span.parent_agent_id !== undefined && span.is_continuation !== true;

/** ClawMetry counts a span as a run or a message if its name contains one of these, even a tool named `truncate`. */
const COUNTED = /run|completion|message/i;

/**
 * A model call counts as a run in ClawMetry, by its operation. Nothing else may count as one because of a tool's or an agent's
 * name.
 */
function spanName(span: SpanRecord): string {
  if (isSpawnedRun(span)) return 'agent.spawn';
  if (span.kind === 'chat' || !COUNTED.test(span.name)) return span.name;
  return span.kind === 'tool' ? 'execute_tool' : 'invoke_agent';
}

/** ClawMetry draws an edge from parent to child only if their agent ids differ. */
function ownAgentId(value: AttributeValue, span: SpanRecord): AttributeValue {
  if (value !== span.parent_agent_id) return value;
  const label = span.attributes[AGENT_NAME];
  return label === undefined || label === value ? 'subagent' : label;
}

/** ClawMetry takes any span with a model for a model call. */
const exceptOnRuns = {
  of: (value: AttributeValue, span: SpanRecord): AttributeValue | undefined =>
    span.kind === 'run' ? undefined : value,
  says: 'not sent on runs',
};

function billedInput(value: AttributeValue, { attributes }: SpanRecord): AttributeValue {
  if (!CACHE_BESIDE_INPUT.has(attributes[PROVIDER])) return value;
  return Math.max(
    0,
    Number(value) - Number(attributes[CACHE_READ] ?? 0) - Number(attributes[CACHE_WRITE] ?? 0),
  );
}

/** Tool logs with the spans' session id would hide the trace of that session, so they have a session of their own. */
const LIVE_SESSION: Derived<LogRecord, AttributeValue | undefined> = {
  of({ attributes }) {
    const session = attributes[SESSION_KEY] ?? attributes[CONVERSATION];
    return session === undefined ? undefined : `${withoutColons(session)}.live`;
  },
  says: 'the session key with `.` in place of `:`, and `.live` appended',
};

export const CLAWMETRY: Profile = {
  span: {
    name: {
      of: spanName,
      says: "`agent.spawn` for a sub-agent's run; only the operation if the name of a run or tool call contains `run`, `completion` or `message`",
    },
    attributes: {
      [CONVERSATION]: { value: { of: withoutColons, says: 'with `.` in place of `:`' } },
      [AGENT_ID]: {
        value: {
          of: ownAgentId,
          says: "if it equals the id of the parent's agent: the sub-agent's label, else `subagent`",
        },
      },
      'gen_ai.request.model': { value: exceptOnRuns },
      'gen_ai.response.model': { value: exceptOnRuns },
      'gen_ai.usage.input_tokens': {
        value: { of: billedInput, says: 'without the cached tokens if the provider is `anthropic`' },
      },
      [CACHE_WRITE]: { name: 'gen_ai.usage.cache_creation.input_tokens' },
      'openclaw.cost_usd': { name: 'gen_ai.usage.cost_usd' },
    },
  },
  log: {
    attributes: {},
    // ClawMetry looks for a log record's session under the first name, then under the second; for spans it is the reverse.
    added: { [CONVERSATION]: LIVE_SESSION, 'session.id': LIVE_SESSION },
    events: new Set(['openclaw.tool_call', 'openclaw.tool_result']),
    batch_items: 16,
  },
  metrics: LATEST_METRICS,
};

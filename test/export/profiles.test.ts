import { describe, expect, test } from 'vitest';
import { applyToLog, applyToSpan, PROFILES, sendsLog } from '../../src/export/profiles.js';
import { log, span } from './fakes.js';

const { clawmetry, latest, legacy } = PROFILES;

const CHILD = span({
  name: 'invoke_agent researcher',
  parent_agent_id: 'main',
  attributes: {
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.id': 'main',
    'gen_ai.agent.name': 'researcher',
    'gen_ai.conversation.id': 'agent:main:subagent:42',
    'gen_ai.request.model': 'opus',
    'openclaw.session.key': 'agent:main:subagent:42',
  },
});

const CHAT = span({
  kind: 'chat',
  name: 'chat opus',
  attributes: {
    'gen_ai.provider.name': 'anthropic',
    'gen_ai.request.model': 'opus',
    'gen_ai.conversation.id': 'b7b9c1c4-0000-4000-8000-000000000000',
    'gen_ai.usage.input_tokens': 1_200,
    'gen_ai.usage.output_tokens': 80,
    'gen_ai.usage.cache_read.input_tokens': 800,
    'gen_ai.usage.cache_write.input_tokens': 100,
    'openclaw.cost_usd': 0.0125,
  },
});

describe('latest', () => {
  test('leaves spans and logs unchanged, and sends every log', () => {
    expect(applyToSpan(latest, CHILD)).toBe(CHILD);
    expect(applyToLog(latest, log())).toEqual(log());
    expect(sendsLog(latest, log({ event_name: 'openclaw.agent_finished' }))).toBe(true);
  });
});

describe('legacy', () => {
  test('spans and logs have the old names; attributes without an old name keep theirs', () => {
    const before = structuredClone(CHAT);
    const attributes = { ...CHAT.attributes, 'gen_ai.usage.reasoning.output_tokens': 32 };
    const expected = {
      'gen_ai.system': 'anthropic',
      'gen_ai.request.model': 'opus',
      'gen_ai.conversation.id': 'b7b9c1c4-0000-4000-8000-000000000000',
      'gen_ai.usage.input_tokens': 1_200,
      'gen_ai.usage.output_tokens': 80,
      'gen_ai.usage.cache_read_input_tokens': 800,
      'gen_ai.usage.cache_creation_input_tokens': 100,
      'gen_ai.usage.reasoning.output_tokens': 32,
      'openclaw.cost_usd': 0.0125,
    };
    expect(applyToSpan(legacy, { ...CHAT, attributes })).toEqual({ ...CHAT, attributes: expected });
    expect(applyToLog(legacy, log({ attributes }))).toEqual(log({ attributes: expected }));
    expect(applyToSpan(legacy, CHILD)).toEqual(CHILD);
    expect(sendsLog(legacy, log({ event_name: 'openclaw.agent_finished' }))).toBe(true);
    expect(CHAT).toEqual(before);
  });
});

describe('clawmetry', () => {
  test.each([
    { kind: 'tool', name: 'execute_tool exec', expected: 'execute_tool exec' },
    { kind: 'tool', name: 'execute_tool truncate', expected: 'execute_tool' },
    { kind: 'tool', name: 'execute_tool message', expected: 'execute_tool' },
    { kind: 'run', name: 'invoke_agent Runner', expected: 'invoke_agent' },
    { kind: 'run', name: 'invoke_agent main', expected: 'invoke_agent main' },
    { kind: 'chat', name: 'chat completion-1', expected: 'chat completion-1' },
  ] as const)('$name, a $kind, is named $expected, so that ClawMetry counts it as nothing else', (each) => {
    const { kind, name, expected } = each;
    expect(applyToSpan(clawmetry, span({ kind, name })).name).toBe(expected);
  });

  test("renames a sub-agent's run to agent.spawn and changes its agent id", () => {
    const before = structuredClone(CHILD);
    expect(applyToSpan(clawmetry, CHILD)).toEqual({
      ...CHILD,
      name: 'agent.spawn',
      attributes: {
        'gen_ai.operation.name': 'invoke_agent',
        'gen_ai.agent.id': 'researcher',
        'gen_ai.agent.name': 'researcher',
        'gen_ai.conversation.id': 'agent.main.subagent.42',
        'openclaw.session.key': 'agent:main:subagent:42',
      },
    });
    expect(CHILD).toEqual(before);
  });

  test.each([
    { agent: 'main', parent: 'main', label: 'main', expected: 'subagent' },
    { agent: 'main', parent: 'main', label: undefined, expected: 'subagent' },
    { agent: 'coder', parent: 'main', label: 'researcher', expected: 'coder' },
  ])(
    'agent $agent with the label $label under $parent is $expected',
    ({ agent, parent, label, expected }) => {
      const attributes = {
        'gen_ai.agent.id': agent,
        ...(label === undefined ? {} : { 'gen_ai.agent.name': label }),
      };
      const child = applyToSpan(clawmetry, span({ parent_agent_id: parent, attributes }));
      expect(child.attributes['gen_ai.agent.id']).toBe(expected);
    },
  );

  test('a root run keeps its name and its agent', () => {
    const attributes = { 'gen_ai.agent.id': 'main', 'gen_ai.agent.name': 'main' };
    expect(applyToSpan(clawmetry, span({ attributes }))).toEqual(span({ attributes }));
  });

  test('renames the attributes of a model call, and takes cached tokens out of the input', () => {
    expect(applyToSpan(clawmetry, CHAT)).toEqual({
      ...CHAT,
      attributes: {
        'gen_ai.provider.name': 'anthropic',
        'gen_ai.request.model': 'opus',
        'gen_ai.conversation.id': 'b7b9c1c4-0000-4000-8000-000000000000',
        'gen_ai.usage.input_tokens': 300,
        'gen_ai.usage.output_tokens': 80,
        'gen_ai.usage.cache_read.input_tokens': 800,
        'gen_ai.usage.cache_creation.input_tokens': 100,
        'gen_ai.usage.cost_usd': 0.0125,
      },
    });
  });

  test.each([
    { provider: 'openai', cached: 800, expected: 1_200 },
    { provider: 'anthropic', cached: 2_000, expected: 0 },
    { provider: 'anthropic', cached: undefined, expected: 1_200 },
  ])('input of $provider with $cached cached counts as $expected', ({ provider, cached, expected }) => {
    const attributes = {
      'gen_ai.provider.name': provider,
      'gen_ai.usage.input_tokens': 1_200,
      ...(cached === undefined ? {} : { 'gen_ai.usage.cache_read.input_tokens': cached }),
    };
    const chat = applyToSpan(clawmetry, span({ kind: 'chat', attributes }));
    expect(chat.attributes['gen_ai.usage.input_tokens']).toBe(expected);
  });

  test('sends only tool logs, under a separate session', () => {
    const call = log({
      attributes: {
        'openclaw.session.key': 'agent:main:main',
        'gen_ai.conversation.id': 'b7b9',
        'gen_ai.tool.name': 'exec',
      },
    });
    expect(applyToLog(clawmetry, call).attributes).toEqual({
      'openclaw.session.key': 'agent:main:main',
      'gen_ai.conversation.id': 'agent.main.main.live',
      'session.id': 'agent.main.main.live',
      'gen_ai.tool.name': 'exec',
    });
    const sent = ['tool_call', 'tool_result', 'agent_started', 'llm_tokens'].filter((name) =>
      sendsLog(clawmetry, log({ event_name: `openclaw.${name}` })),
    );
    expect(sent).toEqual(['tool_call', 'tool_result']);
  });
});

/**
 * The decoders beyond the recordings: frames that repeat, that contradict each other, and that make no sense.
 */
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { createCorrelator } from '../../src/correlate/index.js';
import { createLineDecoder, DIALECTS } from '../../src/decode/index.js';
import { parseAnnounceRunId } from '../../src/model/announce.js';
import { correlate, decodeLines, example, fixture, identities, NOW_MS, readLines } from '../helpers.js';

// biome-ignore lint/suspicious/noExplicitAny: frames are of any shape
type Frame = any;

const agent = (stream: string, data: Frame, more: Frame = {}): Frame => ({
  type: 'event',
  event: stream === 'tool' ? 'session.tool' : 'agent',
  payload: { runId: 'r', sessionKey: 'agent:main:s', agentId: 'main', stream, ts: 1000, data, ...more },
});
const start = agent('lifecycle', { phase: 'start', startedAt: 1000 });
const end = agent('lifecycle', { phase: 'end', endedAt: 2000, executionSettled: true });
const decode = (frames: Frame[]) => decodeLines(frames.map((frame) => JSON.stringify(frame)));

describe('the gateway dialect', () => {
  test('frames that were sent to the gateway give no events', () => {
    const line = JSON.stringify({ rx: 1, dir: 'out', frame: start });
    expect(createLineDecoder('gateway').decode(Buffer.from(line), NOW_MS)).toEqual({
      events: [],
      ignored: 'frame.out',
    });
  });

  test('bare frames are accepted too', () => {
    expect(decode([start, end]).map((event) => event.type)).toEqual(['agent.started', 'agent.finished']);
  });

  test('a tool event that comes both as session.tool and as agent is one call', () => {
    const call = { phase: 'start', name: 'exec', toolCallId: 'c', args: {} };
    const result = {
      phase: 'result',
      name: 'exec',
      toolCallId: 'c',
      isError: false,
      result: { details: { exitCode: 3 } },
    };
    const both = [call, result].flatMap((data) => [
      agent('tool', data),
      { ...agent('tool', data), event: 'agent' },
    ]);
    const { spans, logs } = correlate(decode([start, ...both, end]));
    expect(spans.filter((span) => span.kind === 'tool')).toMatchObject([{ error: { type: 'exit_code' } }]);
    expect(logs.filter((log) => log.event_name.startsWith('openclaw.tool'))).toHaveLength(2);
  });

  test('a run id that is masked in a pushed message and in the history is resolved to that of the run', () => {
    const session_key = 'agent:main:subagent:119d2d77-2b1c-4385-ae0b-561707452823';
    const child_run = 'f75e5b34-5d9e-4c17-94a4-1f7e09b44b99';
    const runId = `announce:requester-settle:main:${session_key}:${child_run}:yield-1`;
    const masked =
      'announce:requester-settle:main:agent:main:subagent:119d2d77-2b1c-4385-ae0b-561707…4b99:yield-1';
    const row = {
      role: 'assistant',
      content: [{ type: 'text', text: 'They have reported.' }],
      provider: 'script',
      model: 'scripted',
      usage: { input: 100, output: 18, cacheRead: 1400, cacheWrite: 0, reasoningTokens: 4 },
      timestamp: 1_500,
      responseId: 'response-51',
      __openclaw: { runId: masked, id: 'm', recordTimestampMs: 1_600 },
    };
    const { reasoningTokens: _untold, ...usage } = row.usage;
    const pushed = { sessionKey: session_key, messageId: 'm', message: { ...row, usage } };
    const of = { runId, sessionKey: session_key };
    const frames = [
      agent('lifecycle', { phase: 'start', startedAt: 1000 }, of),
      { type: 'event', event: 'session.message', payload: pushed },
      { type: 'res', id: '1', ok: true, payload: { messages: [row] } },
      agent('lifecycle', { phase: 'end', endedAt: 2000, executionSettled: true }, of),
    ];
    const { spans } = correlate(decode(frames));
    expect(spans.map(({ kind }) => kind).sort()).toEqual(['chat', 'run']);
    expect(spans.map(({ attributes }) => attributes['openclaw.run.id'])).toEqual([runId, runId]);
    const chat = spans.find(({ kind }) => kind === 'chat');
    expect(chat?.attributes['gen_ai.usage.reasoning.output_tokens']).toBe(4);
  });

  test('the reasoning of a model call without a response id belongs to its message', () => {
    const row = {
      role: 'assistant',
      content: [{ type: 'thinking', thinking: 'Hm.' }],
      usage: { input: 100, output: 18, reasoningTokens: 4 },
      timestamp: 1_500,
      __openclaw: { runId: 'r', id: 'm', recordTimestampMs: 1_600 },
    };
    const { reasoningTokens: _untold, ...usage } = row.usage;
    const pushed = { sessionKey: 'agent:main:s', messageId: 'm', message: { ...row, usage } };
    const frames = [
      start,
      agent('lifecycle', { phase: 'model', provider: 'p', model: 'm' }),
      { type: 'event', event: 'session.message', payload: pushed },
      { type: 'res', id: '1', ok: true, payload: { messages: [row] } },
      end,
    ];
    const { spans } = correlate(decode(frames), { content: true });
    expect(spans.find(({ kind }) => kind === 'chat')?.attributes).toMatchObject({
      'gen_ai.usage.reasoning.output_tokens': 4,
      'gen_ai.output.messages': expect.stringContaining('Hm.'),
    });
  });

  describe('a command-line agent', () => {
    const answer = {
      type: 'event',
      event: 'session.message',
      payload: {
        sessionKey: 'agent:main:s',
        messageId: 'm',
        message: {
          role: 'assistant',
          api: 'cli',
          usage: { input: 1, output: 1 },
          timestamp: 1_995,
          idempotencyKey: 'cli-assistant:r',
          __openclaw: { id: 'm', recordTimestampMs: 2_000 },
        },
      },
    };

    test('has results that are texts', () => {
      const ends = ['c', 'd'].map((toolCallId) => {
        const isError = toolCallId === 'd';
        return agent('tool', {
          phase: 'result',
          name: 'Bash',
          toolCallId,
          isError,
          result: `of ${toolCallId}`,
        });
      });
      expect(decode([start, ...ends])).toMatchObject([
        { type: 'agent.started' },
        { type: 'tool.output', output: 'of c' },
        { type: 'tool.error', error: { message: 'of d' } },
      ]);
    });

    test('has a sub-agent below the call of OpenClaw that starts it over MCP', () => {
      const child = { childSessionKey: 'agent:main:subagent:c', runId: 'child' };
      const call = { name: 'mcp__openclaw__sessions_spawn', toolCallId: 'c' };
      const content = (text: string): Frame => [{ type: 'text', text }];
      const frames = [
        agent('tool', { phase: 'start', ...call, args: { label: 'Reader' } }),
        agent('tool', { phase: 'result', ...call, result: content(JSON.stringify(child)) }),
        agent('tool', { phase: 'result', ...call, toolCallId: 'd', result: content('no JSON') }),
      ];
      expect(decode([start, ...frames]).filter(({ type }) => type === 'subagent.spawned')).toMatchObject([
        { session_key: child.childSessionKey, run_id: 'child', call_id: 'c', label: 'Reader' },
      ]);
    });

    test('begins to go on with a request when the end of that run says', () => {
      const [model, finish] = [{ phase: 'model' }, { phase: 'end', startedAt: 500, executionSettled: true }];
      const frames = [model, finish].map((data, nth) =>
        agent('lifecycle', data, { ts: 2_000, seq: nth + 1 }),
      );
      expect(decode([...frames, answer])).toMatchObject([
        { type: 'agent.started', ts: 500 },
        { type: 'agent.finished', ts: 2_000 },
        { type: 'llm.tokens', started_at: 500, ended_at: 2_000 },
      ]);
    });

    test('has an answer that names its run by its key, though another one has begun', () => {
      const next = agent('lifecycle', { phase: 'start' }, { runId: 'next', ts: 3_000 });
      expect(decode([start, end, next, answer]).at(-1)).toMatchObject({ type: 'llm.tokens', run_id: 'r' });
    });

    test('has a model call from the end of its last tool call on', () => {
      const tool = agent('tool', { phase: 'result', name: 'Bash', toolCallId: 'c' }, { ts: 1_500 });
      expect(decode([start, tool, answer]).at(-1)).toMatchObject({ started_at: 1_500, ended_at: 2_000 });
      const later = agent('lifecycle', { phase: 'start' }, { ts: 3_000 });
      expect(decode([later, answer]).at(-1)).not.toHaveProperty('started_at');
    });
  });

  test('model calls of a run with the same response id are calls of their own, each with its reasoning', () => {
    const row = (id: string, at_ms: number) => ({
      role: 'assistant',
      content: [{ type: 'text', text: id }],
      provider: 'p',
      model: 'm',
      usage: { input: 100, output: 18, reasoningTokens: at_ms / 1_000 },
      timestamp: at_ms - 100,
      responseId: 'response-1',
      __openclaw: { runId: 'r', id, recordTimestampMs: at_ms },
    });
    const rows = [row('first', 1_000), row('second', 2_000)];
    const pushed = rows.map((message) => ({
      type: 'event',
      event: 'session.message',
      payload: { sessionKey: 'agent:main:s', messageId: message.__openclaw.id, message },
    }));
    const found = { type: 'res', id: '1', ok: true, payload: { messages: rows } };
    const { spans } = correlate(decode([start, ...pushed, ...pushed, found, end]));
    const chats = spans.filter(({ kind }) => kind === 'chat').map(({ attributes }) => attributes);
    expect(chats).toMatchObject([
      { 'gen_ai.response.id': 'response-1', 'gen_ai.usage.reasoning.output_tokens': 1 },
      { 'gen_ai.response.id': undefined, 'gen_ai.usage.reasoning.output_tokens': 2 },
    ]);
  });

  test.each([
    [{ stopReason: 'timeout', aborted: true }, 'timeout'],
    [{ phase: 'error', stopReason: 'timeout', aborted: true, status: 'timed_out' }, 'timeout'],
    [{ status: 'timed_out' }, 'timeout'],
    [{ status: 'timeout' }, 'timeout'],
    [{ timeoutPhase: 'provider', error: 'it took too long' }, 'timeout'],
    [{ phase: 'error', timeoutPhase: 'provider', error: 'it took too long' }, 'timeout'],
    [{ aborted: true, stopReason: 'rpc', status: 'cancelled' }, 'cancelled'],
    [{ phase: 'error', aborted: true, stopReason: 'aborted' }, 'cancelled'],
    [{ status: 'aborted' }, 'cancelled'],
    [{ status: 'superseded' }, 'cancelled'],
    [{ stopReason: 'error', error: 'boom' }, 'error'],
    [{ phase: 'error', livenessState: 'blocked' }, 'error'],
    [{ stopReason: 'stop', livenessState: 'blocked' }, 'error'],
    [{ stopReason: 'end_turn', livenessState: 'paused', yielded: true }, undefined],
    [{ stopReason: 'toolUse', livenessState: 'paused', aborted: false }, 'timeout'],
    [{ stopReason: 'toolUse', livenessState: 'paused', aborted: true }, 'cancelled'],
    [{ stopReason: 'toolUse', livenessState: 'paused', yielded: true }, undefined],
    [{ stopReason: 'toolUse', livenessState: 'working' }, undefined],
    [{ stopReason: 'stop', livenessState: 'paused' }, undefined],
    [{ stopReason: 'stop', livenessState: 'working' }, undefined],
  ])('an end with %j has the error type %s', (data, type) => {
    const told = { phase: 'end', endedAt: 2000, executionSettled: true, ...data };
    const { spans } = correlate(decode([start, agent('lifecycle', told)]));
    const message = 'error' in data ? { message: data.error } : {};
    expect(spans).toMatchObject([{ error: type === undefined ? undefined : { type, ...message } }]);
  });

  test.each([
    [{ timeoutPhase: 'provider', providerStarted: true, livenessState: 'paused' }, 'timeout'],
    [{ timeoutPhase: 'provider', errorObservation: { failoverReason: 'server_error' } }, 'server_error'],
    [{ livenessState: 'blocked' }, 'error'],
  ])('a model call whose attempt failed with %j has the error type %s', (data, type) => {
    const failed = { phase: 'finishing', endedAt: 1900, aborted: false, error: 'no answer', ...data };
    const step = agent('lifecycle', { phase: 'model', provider: 'p', model: 'm' });
    const { spans } = correlate(decode([start, step, agent('lifecycle', failed), end]));
    const call = spans.find(({ kind }) => kind === 'chat');
    expect(call?.error).toEqual({ type, message: 'no answer' });
  });

  const job = (action: string, jobId: string, sessionTarget: string): Frame => ({
    type: 'event',
    event: 'cron',
    payload: { action, jobId, job: { agentId: 'main', sessionTarget } },
  });

  test('a run of a schedule that is due has that trigger, and one of a webhook or a user has not', () => {
    const run = (runId: string, sessionKey: string, data: Frame = {}): Frame =>
      agent('lifecycle', { ...start.payload.data, ...data }, { runId, sessionKey });
    const frames = [
      ...[
        job('started', 'j', 'isolated'),
        job('started', 'k', 'session:weekly'),
        job('started', 'l', 'main'),
      ],
      ...[run('isolated', 'agent:main:cron:j:run:1'), run('own', 'agent:main:weekly')],
      ...[run('webhook', 'agent:main:cron:h:run:1'), run('user', 'agent:main:main')],
      ...[job('finished', 'j', 'isolated'), job('finished', 'k', 'session:weekly')],
      ...[run('after', 'agent:main:cron:j:run:2'), run('later', 'agent:main:weekly')],
      run('rebuilt', 'agent:main:main', { provenance: { kind: 'internal_system', sourceTool: 'hook' } }),
    ];
    const told = decode(frames).map((event) => [
      event.run_id,
      'trigger' in event ? event.trigger : undefined,
    ]);
    expect(Object.fromEntries(told)).toEqual({
      isolated: 'cron',
      own: 'cron',
      webhook: undefined,
      user: undefined,
      after: undefined,
      later: undefined,
      rebuilt: 'hook',
    });
  });

  const child = { session_key: 'agent:main:subagent:c', run_id: 'child' };
  const task = (status: string): Frame => ({
    type: 'event',
    event: 'task',
    payload: {
      task: {
        taskId: 't',
        kind: 'subagent',
        title: 'Call Ms Miller about her invoice',
        status,
        sessionKey: 'agent:main:s',
        childSessionKey: child.session_key,
        runId: child.run_id,
        endedAt: 3000,
      },
    },
  });
  const ofChild = { sessionKey: child.session_key, runId: child.run_id, spawnedBy: 'agent:main:s' };

  test('the title of a task, which may be the prompt of the child, is not used as a name', () => {
    const childStart = agent('lifecycle', { phase: 'start', startedAt: 1500 }, ofChild);
    const events = decode([start, task('running'), childStart, task('completed'), end]);
    const { spans } = correlate(events);
    expect(spans.map(({ name }) => name)).toEqual(['invoke_agent main', 'invoke_agent main']);
    expect(JSON.stringify(events)).not.toContain('Miller');
  });

  test('a task whose child was forgotten or never seen opens no run', () => {
    expect(decode([task('running'), task('completed')])).toEqual([]);
  });

  test('a label that becomes known only when the child starts again is still reported', () => {
    const childStart = agent('lifecycle', { phase: 'start', startedAt: 1500 }, ofChild);
    const row = { sessionKey: child.session_key, session: { spawnedBy: 'agent:main:s', label: 'C' } };
    const labelled = { type: 'event', event: 'sessions.changed', payload: row };
    const { spans } = correlate(decode([start, childStart, labelled, childStart, end]));
    expect(spans.map(({ name }) => name).sort()).toEqual(['invoke_agent C', 'invoke_agent main']);
  });

  test('a label that becomes known only when the child starts names the child', () => {
    const args = { phase: 'start', name: 'sessions_spawn', toolCallId: 'c', args: {} };
    const details = { childSessionKey: child.session_key, runId: child.run_id };
    const result = { phase: 'result', name: 'sessions_spawn', toolCallId: 'c', result: { details } };
    const row = {
      sessionKey: child.session_key,
      session: { parentSessionKey: 'agent:main:s', label: 'Child A' },
    };
    const frames = [
      start,
      agent('tool', args),
      agent('tool', result),
      { type: 'event', event: 'sessions.changed', payload: row },
      agent('lifecycle', { phase: 'start', startedAt: 1500 }, ofChild),
      agent('lifecycle', { phase: 'end', endedAt: 1600, executionSettled: true }, ofChild),
      end,
    ];
    const { spans } = correlate(decode(frames));
    const labelled = spans.find(({ name }) => name === 'invoke_agent Child A');
    expect(labelled?.parent_span_id).toBe(spans.find(({ kind }) => kind === 'tool')?.span_id);
  });

  test('a run in a session that a user has created is a request of its own', () => {
    const created = {
      sessionKey: 'agent:main:dashboard:d',
      parentSessionKey: 'agent:main:s',
      label: 'Ideas',
      session: { spawnDepth: 0, createdVia: 'operator', parentSessionKey: 'agent:main:s', label: 'Ideas' },
    };
    const own = { sessionKey: created.sessionKey, runId: 'own' };
    const frames = [
      ...[start, { type: 'event', event: 'sessions.changed', payload: created }],
      agent('lifecycle', { phase: 'start', startedAt: 1500 }, own),
      agent('lifecycle', { phase: 'end', endedAt: 1600, executionSettled: true }, own),
      end,
    ];
    const { spans } = correlate(decode(frames));
    const { name, parent_span_id, trace_id } = spans.find(({ end_ms }) => end_ms === 1600) ?? {};
    expect({ name, parent_span_id }).toEqual({ name: 'invoke_agent main', parent_span_id: undefined });
    expect(spans.filter((span) => span.trace_id === trace_id)).toHaveLength(1);
  });

  describe('a prompt that the gateway pushes as a message of the assistant', () => {
    const prompt = (message: Frame): Frame => ({
      type: 'event',
      event: 'session.message',
      payload: {
        sessionKey: 'agent:main:s',
        messageId: 'm',
        message: { role: 'assistant', timestamp: 1000, ...message },
      },
    });
    const sent = prompt({
      content: 'please help.',
      idempotencyKey: 'next:user',
      provenance: {
        kind: 'inter_session',
        sourceSessionKey: 'agent:main:other',
        sourceTool: 'sessions_send',
      },
      __openclaw: { id: 'm', idempotencyKey: 'next:user', recordTimestampMs: 2100 },
      senderLabel: 'Forwarded from main',
    });
    const scheduled = prompt({
      content: 'Go. This is an unattended scheduled run.',
      provenance: { kind: 'internal_system', sourceTool: 'cron', jobId: 'j', runId: 'id-of-the-session' },
      idempotencyKey: 'id-of-the-prompt:user',
      __openclaw: { id: 'm', idempotencyKey: 'id-of-the-prompt:user', recordTimestampMs: 2100 },
      senderLabel: 'Forwarded from J1',
    });
    const { idempotencyKey: _, __openclaw: __, ...unnamed } = scheduled.payload.message;

    test.each([
      ['another agent', sent],
      ['a schedule', scheduled],
      ['a schedule, without a key', prompt(unnamed)],
    ])('is no model call if it is from %s', (_sender, frame) => {
      const decoder = createLineDecoder('auto');
      for (const each of [start, end]) decoder.decode(Buffer.from(JSON.stringify(each)), NOW_MS);
      const decoded = decoder.decode(Buffer.from(JSON.stringify(frame)), NOW_MS);
      expect(decoded).toEqual({ events: [], ignored: 'message.forwarded' });
    });

    test('is the input of the run that it names', () => {
      const next = agent('lifecycle', { phase: 'start', startedAt: 2200 }, { runId: 'next', ts: 2200 });
      expect(decode([start, end, sent, next]).at(-1)).toMatchObject({
        type: 'agent.started',
        run_id: 'next',
        input: 'please help.',
      });
    });
  });

  test('in protocol 3 a run whose start was not seen has the model calls of its messages', () => {
    const { agentId: _, ...payload } = agent('tool', {
      phase: 'start',
      name: 'exec',
      toolCallId: 'c',
    }).payload;
    const message = { role: 'assistant', provider: 'p', model: 'm', usage: { input: 3, output: 4 } };
    const events = decode([
      { type: 'event', event: 'agent', payload },
      {
        type: 'event',
        event: 'session.message',
        payload: { sessionKey: 'agent:main:s', messageId: 'm', message },
      },
    ]);
    expect(events.map(({ type, run_id }) => [type, run_id])).toEqual([
      ['tool.call', 'r'],
      ['llm.tokens', 'r'],
    ]);
  });

  test('in OpenClaw 2026.6 an end of a run that is no abort is its last, though it is not marked', () => {
    const data = { stopReason: 'stop', aborted: false, livenessState: 'working', replayInvalid: true };
    const last = agent('lifecycle', { phase: 'end', endedAt: 2000, ...data }, { seq: 42 });
    expect(correlate(decode([start, last])).spans).toMatchObject([{ end_ms: 2000, error: undefined }]);
  });

  test('a message that was found later does not make its run the latest', () => {
    const message = (id: string, own: object, more: object = {}): Frame => ({
      ...more,
      frame: {
        type: 'event',
        event: 'session.message',
        payload: {
          sessionKey: 'agent:main:s',
          messageId: id,
          message: { role: 'assistant', provider: 'p', model: 'm', usage: {}, __openclaw: own },
        },
      },
    });
    const next = agent('lifecycle', { phase: 'start' }, { runId: 'next' });
    const frames = [start, next, message('a', { runId: 'r' }, { rebuilt: true }), message('b', {})];
    expect(decode(frames).map(({ run_id }) => run_id)).toEqual(['r', 'next', 'r', 'next']);
  });

  test('in protocol 3 a message belongs to the latest run, even if an earlier one is still reported', () => {
    const old = (stream: string, data: Frame, more: Frame): Frame =>
      agent(stream, data, { agentId: undefined, ...more });
    const message = { role: 'assistant', provider: 'p', model: 'm', usage: { input: 1, output: 1 } };
    const events = decode([
      old('lifecycle', { phase: 'start' }, { runId: 'r1', seq: 1 }),
      old('lifecycle', { phase: 'start' }, { runId: 'r2', seq: 1 }),
      old('lifecycle', { phase: 'end' }, { runId: 'r1', seq: 2 }),
      { type: 'event', event: 'session.message', payload: { sessionKey: 'agent:main:s', message } },
    ]);
    expect(events.at(-1)).toMatchObject({ type: 'llm.tokens', run_id: 'r2' });
  });

  describe('in protocol 3', () => {
    const old = (data: Frame, more: Frame): Frame =>
      agent('lifecycle', data, { agentId: undefined, ...more });
    const begun = old({ phase: 'start' }, { seq: 1 });
    const failed = old(
      { phase: 'error', error: '500 upstream', livenessState: 'blocked', endedAt: 2000 },
      { seq: 2 },
    );
    const restarted = old({ phase: 'start', startedAt: 4000 }, { seq: 3, ts: 4000 });
    const changed = (phase: string) => ({
      type: 'event',
      event: 'sessions.changed',
      payload: { sessionKey: 'agent:main:s', phase, runId: 'r', ts: 17_000, endedAt: 9000, status: 'failed' },
    });
    const message = (content: Frame[]): Frame => ({
      type: 'event',
      event: 'session.message',
      payload: {
        sessionKey: 'agent:main:s',
        messageId: 'm',
        message: { role: 'assistant', content, stopReason: 'stop', provider: 'p', model: 'm', usage: {} },
      },
    });
    const runsOf = (frames: Frame[]) => correlate(decode(frames)).spans.filter(({ kind }) => kind === 'run');

    test('a run whose failed attempt is retried ends as its last attempt does', () => {
      const done = old({ phase: 'end', livenessState: 'working', endedAt: 5000 }, { seq: 4, ts: 5000 });
      const frames = [begun, failed, restarted, changed('start'), done, changed('end')];
      expect(runsOf(frames)).toMatchObject([{ end_ms: 5000, error: undefined }]);
    });

    test('a run that is retried goes on, however long the next attempt takes', () => {
      const correlator = createCorrelator();
      for (const event of decode([begun, failed, restarted])) correlator.apply(event, event.ts);
      expect(correlator.expire(restarted.payload.ts + 20 * 60_000).spans).toEqual([]);
    });

    test('a run has failed once its session reports that, at the time of its last attempt', () => {
      const again = old({ phase: 'error', error: '503 upstream', endedAt: 9000 }, { seq: 4, ts: 9000 });
      const events = decode([begun, failed, restarted, again, changed('error'), changed('error')]);
      expect(events.slice(1).map(({ type, ts, ...rest }) => [type, ts, 'may_continue' in rest])).toEqual([
        ['agent.finished', 2000, true],
        ['agent.started', 4000, false],
        ['agent.finished', 9000, true],
        ['agent.finished', 9000, false],
      ]);
      expect(correlate(events).spans).toMatchObject([{ end_ms: 9000, error: { message: '503 upstream' } }]);
      expect(decode([begun, old({ phase: 'error', aborted: true }, { seq: 2 })])[1]).not.toHaveProperty(
        'may_continue',
      );
    });

    test('a run of OpenClaw 2026.3 that is aborted ends with the message of its last call, others at their own end', () => {
      const content = [{ type: 'text', text: 'word0 word1' }];
      const aborted = { ...message(content), rx: 3000 };
      aborted.payload.message.stopReason = 'aborted';
      const end = old({ phase: 'end', aborted: true, stopReason: 'rpc', endedAt: 2000 }, { seq: 2 });
      const ends = (frames: Frame[]) => decode(frames).filter(({ type }) => type === 'agent.finished');
      expect(endingsOf([begun, ...calls, aborted])).toEqual(['a', 'b', 'r']);
      expect(ends([begun, aborted])).toMatchObject([
        { ts: 3000, status: 'cancelled', stop_reason: 'aborted', may_continue: true },
      ]);
      expect(ends([begun, end, aborted])).toMatchObject([{ ts: 2000, stop_reason: 'rpc' }]);
    });

    /** Calls whose ends wait for frames that OpenClaw 2026.3 does not push. */
    const calls = ['a', 'b'].flatMap((toolCallId) =>
      ['start', 'result'].map((phase) =>
        agent('tool', { phase, toolCallId, name: 'exec' }, { agentId: undefined }),
      ),
    );
    const endingsOf = (frames: Frame[]) =>
      decode(frames)
        .filter(({ type }) => type === 'tool.output' || type === 'agent.finished')
        .map((event) => ('call_id' in event ? event.call_id : event.run_id));

    test('a run of OpenClaw 2026.3 that has yielded has ended when the next one begins, others at their own end', () => {
      const empty = { ...message([{ type: 'text', text: '' }]), rx: 3000 };
      empty.payload.message.stopReason = 'aborted';
      const end = old({ phase: 'end', endedAt: 2000 }, { seq: 2 });
      const next = old({ phase: 'start' }, { seq: 1, runId: 'next', ts: 9000 });
      const endsOf = (frames: Frame[]) => decode(frames).filter(({ type }) => type === 'agent.finished');
      expect(endingsOf([begun, ...calls, empty, next])).toEqual(['a', 'b', 'r']);
      expect(endsOf([begun, empty, next, next])).toMatchObject([
        { run_id: 'r', ts: 3000, status: 'ok', yielded: true },
      ]);
      expect(endsOf([begun, end, empty, next])).toMatchObject([{ run_id: 'r', ts: 2000 }]);
      expect(endsOf([begun, empty, end, next])).toMatchObject([{ run_id: 'r', ts: 2000 }]);
    });

    test('a failed attempt that the session reports at once, as in OpenClaw 2026.3, may be retried', () => {
      const unnamed = (data: Frame, ts: number, seq: number) => old(data, { sessionKey: undefined, ts, seq });
      const again = { phase: 'error', error: '429', endedAt: 2000 };
      const frames = [
        ...[begun, old(again, { seq: 2 }), { rx: 2025, frame: changed('error') }],
        ...[unnamed({ phase: 'start' }, 4000, 3), unnamed({ phase: 'end', endedAt: 5000 }, 5000, 4)],
      ];
      expect(runsOf(frames)).toMatchObject([{ start_ms: 1000, end_ms: 5000, error: undefined }]);
    });

    test('a run whose model gave no answer goes on with the next attempt, whose frames name no session', () => {
      const unnamed = (data: Frame, ts: number, seq: number) => old(data, { sessionKey: undefined, ts, seq });
      const ended = { phase: 'end', livenessState: 'working' };
      const attempts = [
        old({ ...ended, endedAt: 2000 }, { seq: 2, ts: 2000 }),
        unnamed({ phase: 'start' }, 3000, 1),
        unnamed({ ...ended, endedAt: 4000 }, 4000, 2),
      ];
      const empty = message([{ type: 'thinking', thinking: 'Hm.' }]);
      expect(runsOf([begun, empty, ...attempts])).toMatchObject([{ end_ms: 4000 }]);
      const answered = [begun, message([{ type: 'text', text: 'Hello.' }]), attempts[0]];
      expect(decode(answered).at(-1)).not.toHaveProperty('may_continue');
      const next = { ...begun, payload: { ...begun.payload, runId: 'next' } };
      const nextEnd = old({ ...ended, endedAt: 6000 }, { runId: 'next', seq: 2 });
      expect(decode([begun, empty, next, nextEnd]).at(-1)).not.toHaveProperty('may_continue');
    });

    describe('a run of a channel or a heartbeat, which has no agent events,', () => {
      const reported = (phase: string, ts: number, more: Frame = {}): Frame => ({
        type: 'event',
        event: 'sessions.changed',
        payload: { sessionKey: 'agent:main:s', runId: 'beat', phase, ts, ...more },
      });
      const answered = { ...message([{ type: 'text', text: 'Hello.' }]), rx: 2000 };

      test.each([
        ['done', 'end', undefined],
        ['timeout', 'end', 'cancelled'],
        ['failed', 'error', 'error'],
      ])('begins and ends as its session reports, and has its model calls: %s', (status, phase, type) => {
        const ended = reported(phase, 2100, { endedAt: 2050, status });
        const { spans } = correlate(
          decode([begun, changed('end'), reported('start', 1500), answered, ended]),
        );
        const run = spans.find(
          ({ kind, attributes }) => kind === 'run' && attributes['openclaw.run.id'] === 'beat',
        );
        expect(run).toMatchObject({ start_ms: 1500, end_ms: 2050, error: type && { type } });
        expect(spans.find(({ kind }) => kind === 'chat')?.parent_span_id).toBe(run?.span_id);
      });

      test('is not made of what a session reports of other runs', () => {
        const done = old({ phase: 'end', endedAt: 2000 }, { seq: 2 });
        const reports = [changed('start'), done, changed('end')];
        expect(decode([begun, ...reports]).map(({ type }) => type)).toEqual([
          'agent.started',
          'agent.finished',
        ]);
        const newer = { sessionKey: 'agent:main:s', agentId: 'main' };
        expect(decode([reported('start', 1500, newer), reported('end', 2100, newer)])).toEqual([]);
      });
    });

    test('a command that has failed without an exit code has failed', () => {
      const call = (stream: string, data: Frame): Frame =>
        agent(stream, { toolCallId: 'c', name: 'exec', ...data }, { agentId: undefined });
      const frames = [
        begun,
        call('tool', { phase: 'start', args: { command: 'sleep 20', timeout: 2 } }),
        call('item', { phase: 'start', kind: 'command' }),
        call('tool', { phase: 'result', isError: false }),
        call('item', { phase: 'end', kind: 'tool', status: 'completed' }),
        call('item', { phase: 'end', kind: 'command', status: 'failed' }),
        call('command_output', { phase: 'end', status: 'failed', exitCode: null }),
      ];
      expect(decode(frames).at(-1)).toMatchObject({ type: 'tool.error', error: { type: 'error' } });
    });
  });

  test('an event of a run that names no session is skipped if nothing of the run was seen', () => {
    const decoder = createLineDecoder('gateway');
    const of = (runId?: string) => {
      const frame = agent('lifecycle', { phase: 'start' }, { runId, sessionKey: undefined });
      return decoder.decode(Buffer.from(JSON.stringify(frame)), NOW_MS);
    };
    expect(of('r')).toEqual({ events: [], ignored: 'agent.without_session' });
    expect(of()).toMatchObject({ rejected: { reason: 'invalid_frame' } });
  });

  test('in protocol 3 the error text of a call is used only if the call failed', () => {
    const old = (stream: string, data: Frame, seq: number): Frame =>
      agent(stream, data, { agentId: undefined, seq });
    const called = (isError: boolean) => [
      old('lifecycle', { phase: 'start' }, 1),
      old('tool', { phase: 'start', name: 'exec', toolCallId: 'c' }, 2),
      old('tool', { phase: 'result', name: 'exec', toolCallId: 'c', isError }, 4),
    ];
    const said = old('item', { phase: 'end', toolCallId: 'c', status: 'failed', error: 'no such file' }, 5);
    expect(decode([...called(true), said]).at(-1)).toMatchObject({
      type: 'tool.error',
      error: { message: 'no such file' },
    });
    const [output] = decode([...called(false), said]).slice(-1);
    expect(output).toMatchObject({ type: 'tool.output' });
    expect(output).not.toHaveProperty('error');
    // A failed command has no end of output to wait for.
    const [first, ...rest] = called(true);
    const command = old('item', { phase: 'start', kind: 'command', toolCallId: 'c' }, 3);
    const next = old('lifecycle', { phase: 'model', model: 'm' }, 6);
    expect(decode([first, command, ...rest, said, next]).map(({ type }) => type)).toEqual([
      ...['agent.started', 'tool.call', 'tool.error', 'agent.step_started'],
    ]);
  });

  test('in protocol 3 a command whose start was not seen is recognised by its output', () => {
    const of3 = (stream: string, data: Frame): Frame => {
      const frame = agent(stream, { toolCallId: 'c', name: 'exec', ...data });
      const { agentId: _, ...payload } = frame.payload;
      return { ...frame, event: 'agent', payload };
    };
    const { spans } = correlate(
      decode([
        start,
        of3('tool', { phase: 'start', args: {} }),
        of3('command_output', { phase: 'delta', output: 'a' }),
        of3('tool', { phase: 'result', result: {} }),
        of3('item', { kind: 'tool', phase: 'end', status: 'completed' }),
        of3('command_output', { phase: 'end', exitCode: 3 }),
      ]),
    );
    expect(spans.find(({ kind }) => kind === 'tool')).toMatchObject({
      error: { type: 'exit_code' },
      attributes: { 'openclaw.tool.exit_code': 3 },
    });
  });

  test('in protocol 4 the exit code is taken from the end of the output if the result has none', () => {
    const of = (call_id: string, stream: string, data: Frame): Frame =>
      agent(stream, { toolCallId: call_id, name: 'exec', ...data });
    const command = (call_id: string, details: object): Frame[] => [
      of(call_id, 'tool', { phase: 'start', args: {} }),
      of(call_id, 'command_output', { phase: 'delta', output: 'a' }),
      of(call_id, 'tool', { phase: 'result', result: { details } }),
    ];
    const codeOf = (frames: Frame[]) =>
      correlate(decode([start, ...frames])).spans.find(({ kind }) => kind === 'tool')?.attributes[
        'openclaw.tool.exit_code'
      ];
    const end = (exitCode: number): Frame => of('c', 'command_output', { phase: 'end', exitCode });
    expect(codeOf([...command('c', {}), end(3)])).toBe(3);
    expect(codeOf([...command('c', { exitCode: 0 }), end(3)])).toBe(0);
    expect(codeOf([...command('c', {})])).toBeUndefined();
  });

  test('neither the output of a command nor the text of an aborted model call is used as an error message', () => {
    const content = [{ type: 'text', text: 'a private word' }];
    const result = {
      phase: 'result',
      name: 'exec',
      toolCallId: 'c',
      isError: true,
      result: { content, details: { exitCode: 3 } },
    };
    const message = {
      role: 'assistant',
      provider: 'p',
      model: 'm',
      stopReason: 'aborted',
      content,
      usage: { input: 3, output: 4 },
    };
    const { spans, logs } = correlate(
      decode([
        start,
        agent('tool', { phase: 'start', name: 'exec', toolCallId: 'c' }),
        agent('tool', result),
        {
          type: 'event',
          event: 'session.message',
          payload: { sessionKey: 'agent:main:s', messageId: 'm', message },
        },
        end,
      ]),
    );
    expect(spans.flatMap(({ error }) => error ?? [])).toEqual([
      { type: 'exit_code', message: 'exit code 3' },
      { type: 'cancelled', message: 'the model call was aborted' },
    ]);
    expect(JSON.stringify([spans, logs])).not.toContain('private');
  });

  test('a task started by hand does not make a run its own parent', () => {
    const task = {
      kind: 'cli',
      status: 'running',
      sessionKey: 'agent:main:s',
      childSessionKey: 'agent:main:s',
      runId: 'r',
    };
    const frames = [{ type: 'event', event: 'task', payload: { task } }, start, end];
    expect(decode(frames).map(({ type }) => type)).toEqual(['agent.started', 'agent.finished']);
    const { spans } = correlate(decode(frames));
    expect(spans).toHaveLength(1);
    expect(spans[0]?.parent_span_id).toBeUndefined();
  });

  test('after an abort, events that follow its first end count, but a model call that is announced then does not', () => {
    const { spans } = correlate(
      decode([
        start,
        agent(
          'lifecycle',
          { phase: 'end', status: 'cancelled', aborted: true, endedAt: 1500 },
          { seq: 2, ts: 1500 },
        ),
        agent('lifecycle', { phase: 'model', provider: 'p', model: 'm' }, { seq: 3, ts: 1600 }),
        agent(
          'lifecycle',
          { phase: 'error', aborted: true, endedAt: 1700, executionSettled: true },
          { seq: 4, ts: 1700 },
        ),
      ]),
    );
    expect(spans).toMatchObject([{ kind: 'run', end_ms: 1700, error: { type: 'cancelled' } }]);
  });

  describe('a run that is aborted before it begins', () => {
    const aborted = { phase: 'end', status: 'cancelled', aborted: true, endedAt: 1500 };
    const preparing = agent('run_status', { phase: 'preparing_context' }, { seq: 1, ts: 1400 });
    const failed = agent(
      'lifecycle',
      { phase: 'error', aborted: true, endedAt: 1600, executionSettled: true },
      { seq: 3 },
    );

    test('is complete with its end, which is its only event', () => {
      const events = decode([agent('lifecycle', aborted, { seq: 1, ts: 1501 })]);
      expect(events.map(({ type, ts }) => [type, ts])).toEqual([
        ['agent.started', 1500],
        ['agent.finished', 1500],
      ]);
      const { spans } = correlate(events);
      expect(spans).toMatchObject([
        { kind: 'run', start_ms: 1500, end_ms: 1500, error: { type: 'cancelled' } },
      ]);
      expect(spans[0]?.attributes['openclaw.partial']).toBeUndefined();
    });

    test('is complete with its last end, and starts with its preparation, if there was one', () => {
      const events = decode([preparing, agent('lifecycle', aborted, { seq: 2 }), failed]);
      expect(events.map(({ type, ts }) => [type, ts])).toEqual([
        ['agent.finished', 1500],
        ['agent.started', 1400],
        ['agent.finished', 1600],
      ]);
      const { spans } = correlate(events);
      expect(spans).toMatchObject([{ start_ms: 1400, end_ms: 1600, error: { type: 'cancelled' } }]);
      expect(spans[0]?.attributes['openclaw.partial']).toBeUndefined();
    });

    test('is partial if its start may be among missed frames', () => {
      const missed = { missed: { reason: 'connection_lost', unknown: [] } };
      expect(decode([preparing, missed, failed]).map(({ type }) => type)).toEqual(['agent.finished']);
    });

    test('does not become the run that its session is about', () => {
      const events = decode([
        start,
        agent('lifecycle', aborted, { runId: 'other', seq: 1 }),
        { missed: { reason: 'connection_lost', unknown: ['agent:main:s'] } },
        end,
      ]);
      expect(events.at(-1)).toMatchObject({ run_id: 'r', gap: true });
    });
  });

  test('a run that was prepared has one start', () => {
    const prepared = agent('run_status', { phase: 'preparing_context' }, { seq: 1, ts: 900 });
    expect(decode([prepared, start, end]).map(({ type, ts }) => [type, ts])).toEqual([
      ['agent.started', 1000],
      ['agent.finished', 2000],
    ]);
  });

  test('in protocol 3 the second end of an abort is ignored, whatever its sequence number', () => {
    const old = (data: Frame, seq: number) => agent('lifecycle', data, { seq, agentId: undefined });
    const { spans } = correlate(
      decode([
        old({ phase: 'start' }, 1),
        old({ phase: 'end', aborted: true, endedAt: 1500 }, 2),
        old({ phase: 'end', endedAt: 1900 }, 1),
      ]),
    );
    expect(spans).toMatchObject([{ end_ms: 1500, error: { type: 'cancelled' } }]);
  });

  test.each([
    ['of a call that was cut off', 'Aborted', 'cancelled'],
    ['of one that failed', 'Aborted by the server', 'error'],
  ])('the error %s has its type, even if its run ends only later: %s', (_, text, type) => {
    const cut = { isError: true, result: { content: [{ type: 'text', text }], details: {} } };
    const frames = [
      ...[start, agent('tool', { phase: 'start', name: 'exec', toolCallId: 'c' })],
      agent('tool', { phase: 'result', name: 'exec', toolCallId: 'c', ...cut }),
      end,
    ];
    const [call] = correlate(decode(frames)).spans;
    expect(call).toMatchObject({ kind: 'tool', error: { type, message: text } });
  });

  test('runs of two sessions that have the same id are two runs', () => {
    const other = ({ payload, ...frame }: Frame): Frame => ({
      ...frame,
      payload: { ...payload, sessionKey: 'agent:main:other' },
    });
    const { spans } = correlate(decode([start, end, other(start), other(end)]));
    expect(spans).toMatchObject([{ kind: 'run' }, { kind: 'run' }]);
    expect(spans.map(({ error, attributes }) => error ?? attributes['openclaw.partial'])).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('runs of two sessions that have the same id have calls and inputs of their own', () => {
    const message = { role: 'user', idempotencyKey: 'r:user' };
    const sessions = [
      { sessionKey: 'agent:main:s', ts: 1100 },
      { sessionKey: 'agent:main:other', ts: 1200 },
    ];
    const inputs = sessions.map(({ sessionKey }) => ({
      type: 'event',
      event: 'session.message',
      payload: { sessionKey, message: { ...message, content: sessionKey } },
    }));
    const runs = sessions.flatMap((run) => [
      agent('lifecycle', { phase: 'start' }, { ...run, seq: 1 }),
      agent('tool', { phase: 'start', name: 'exec', toolCallId: 'c' }, { ...run, seq: 2 }),
      agent('tool', { phase: 'result', name: 'exec', toolCallId: 'c', result: {} }, { ...run, seq: 3 }),
      agent('lifecycle', { phase: 'end', executionSettled: true }, { ...run, seq: 4 }),
    ]);
    expect(
      decode([...inputs, ...runs]).flatMap((event) => {
        if (event.type === 'agent.started') return event.input;
        return event.type === 'tool.call' ? event.call_id : [];
      }),
    ).toEqual(['agent:main:s', 'c', 'agent:main:other', 'c']);
  });

  test('calls of two runs are two calls, whatever characters their ids contain', () => {
    const ofRun = (runId: string, toolCallId: string): Frame[] => [
      agent('lifecycle', { phase: 'start' }, { runId }),
      agent('tool', { phase: 'start', name: 'exec', toolCallId }, { runId }),
      agent('tool', { phase: 'result', name: 'exec', toolCallId, result: {} }, { runId }),
      agent('lifecycle', { phase: 'end', endedAt: 2000, executionSettled: true }, { runId }),
    ];
    const { spans } = correlate(decode([...ofRun('a:b', 'c'), ...ofRun('a', 'b:c')]));
    expect(spans.filter(({ kind }) => kind === 'tool').map(({ error }) => error)).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('in protocol 3 the ends of calls that wait for a frame are all given with the end of the run', () => {
    const old = (stream: string, data: Frame, seq: number): Frame =>
      agent(stream, data, { agentId: undefined, seq });
    const calls = ['a', 'b'].flatMap((toolCallId, index) => [
      old('tool', { phase: 'start', name: 'exec', toolCallId }, 10 * index + 2),
      old('tool', { phase: 'result', name: 'exec', toolCallId, result: {} }, 10 * index + 3),
    ]);
    const run = [
      old('lifecycle', { phase: 'start' }, 1),
      ...calls,
      old('lifecycle', { phase: 'end', endedAt: 2000 }, 99),
    ];
    expect(decode(run).map(({ type }) => type)).toEqual([
      ...['agent.started', 'tool.call', 'tool.call'],
      ...['tool.output', 'tool.output', 'agent.finished'],
    ]);
    const { spans } = correlate(decode(run));
    expect(spans.filter(({ kind }) => kind === 'tool').map(({ error }) => error)).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('in protocol 3 the end of a call that waits for its exit code is given with the end of the run or of the stream', () => {
    const old = (stream: string, data: Frame, seq: number) =>
      agent(stream, data, { seq, agentId: undefined });
    const call = [
      old('lifecycle', { phase: 'start' }, 1),
      old('tool', { phase: 'start', name: 'exec', toolCallId: 'c' }, 2),
      old('item', { phase: 'start', kind: 'command', toolCallId: 'c' }, 3),
      old('tool', { phase: 'result', name: 'exec', toolCallId: 'c', isError: false }, 4),
    ];
    const ends = (frames: Frame[]) => decode(frames).filter((event) => event.type === 'tool.output');
    expect(ends(call)).toHaveLength(1);
    expect(ends([...call, old('lifecycle', { phase: 'end', endedAt: 1900 }, 5)])).toHaveLength(1);
    const [told] = ends([...call, old('command_output', { phase: 'end', toolCallId: 'c', exitCode: 3 }, 5)]);
    expect(told).toMatchObject({ exit_code: 3 });
  });

  describe('calls of one run that are given the same id', () => {
    const lines = readLines(fixture('gateway/reused-call-id.ndjson'));
    const spansOf = (given: string[]) => correlate(decodeLines(given)).spans;

    test('are calls of their own, with their own ends, also if a frame is repeated later', () => {
      const tools = spansOf(lines).filter(({ kind }) => kind === 'tool');
      expect(
        tools.map(({ name, attributes, error }) => [
          name,
          attributes['gen_ai.tool.call.id'],
          attributes['openclaw.tool.exit_code'] ?? error?.type,
        ]),
      ).toEqual([
        ['execute_tool exec', 'call_reused_1', 0],
        ['execute_tool exec', 'call_reused_1#2', 2],
        ['execute_tool read', 'call_reused_1#3', 'error'],
        ['execute_tool exec', 'call_other_1', 0],
      ]);
      for (const line of lines) expect(spansOf([...lines, line])).toEqual(spansOf(lines));
    });

    test('stay one call if the frames that start them are rebuilt, whose times are not exact', () => {
      const rebuilt = lines
        .map((line) => JSON.parse(line))
        .filter(({ frame }) => frame.payload.data?.phase === 'start' && frame.event === 'session.tool')
        .map(({ rx, frame }) => {
          const { seq, ...payload } = frame.payload;
          return JSON.stringify({
            rx,
            frame: { ...frame, payload: { ...payload, ts: payload.ts + 30_000 } },
          });
        });
      expect(spansOf([...lines, ...rebuilt])).toEqual(spansOf(lines));
    });
  });

  test('an agent frame without a run is rejected with the path of the error', () => {
    const decoded = createLineDecoder('gateway').decode(
      Buffer.from(JSON.stringify({ ...start, payload: {} })),
      0,
    );
    expect(decoded.rejected).toMatchObject({ reason: 'invalid_frame', path: 'frame.payload' });
  });
});

describe('announce run ids', () => {
  const KEY = 'agent:main:s';
  const wrap = (list: string, key = KEY) => `announce:requester-settle:main:${key}:${list}:yield-1`;

  test.each([
    ['an ordinary run id', 'run-7', undefined],
    ['one child', wrap('c1'), [{ run_id: 'c1' }]],
    ['several children', wrap('c1,c2,c3'), [{ run_id: 'c1' }, { run_id: 'c2' }, { run_id: 'c3' }]],
    [
      'a child that was an announce run itself',
      wrap(`c1,${wrap('g1,g2', 'k')}`),
      [{ run_id: 'c1' }, { run_id: wrap('g1,g2', 'k') }],
    ],
    [
      'protocol 3',
      'announce:v1:agent:main:subagent:x:c1',
      [{ session_key: 'agent:main:subagent:x', run_id: 'c1' }],
    ],
    ['an unknown form', 'announce:v9', []],
  ])('%s', (_, run_id, expected) => {
    expect(parseAnnounceRunId(run_id, KEY)).toEqual(expected);
  });
});

describe('the catalog dialect', () => {
  const decodeEvent = (fields: object) =>
    createLineDecoder('catalog').decode(
      Buffer.from(JSON.stringify({ ts: 1000, session_key: 's', run_id: 'r', ...fields })),
      NOW_MS,
    );

  test('a field that is not a string is reported once, whatever its length', () => {
    for (const run_id of [[], { length: 0 }]) {
      const { rejected } = decodeEvent({ type: 'agent.started', run_id });
      expect(rejected).toMatchObject({ path: 'run_id', message: expect.stringMatching('expected string') });
      expect(rejected).not.toHaveProperty('more');
    }
  });

  test('a null in an error counts as absent, in an output it is a value', () => {
    const error = { type: null, message: 'm' };
    expect(decodeEvent({ type: 'agent.finished', status: 'error', error }).events).toMatchObject([
      { error: { message: 'm' } },
    ]);
    expect(decodeEvent({ type: 'tool.error', call_id: 'c', error }).rejected).toMatchObject({
      path: 'error.type',
      message: 'missing',
    });
    expect(decodeEvent({ type: 'tool.output', call_id: 'c', output: { a: null } }).events).toMatchObject([
      { output: { a: null } },
    ]);
  });
});

describe('invalid input', () => {
  const lines = ['gateway/spawn', 'gateway/err500', 'gateway/2026.4.29/tools'].flatMap((name) =>
    readLines(fixture(`${name}.ndjson`)),
  );
  const real = [
    ...lines,
    ...readLines(example('catalog.ndjson')),
    ...readLines(fixture('transcripts/502afadc-c6ea-4f42-91c0-c82f3d7863b4.jsonl')),
  ];

  property.prop([fc.constantFrom(...DIALECTS), fc.array(fc.json(), { maxLength: 10 })])(
    'any JSON is accepted or rejected',
    (dialect, texts) => {
      const decoder = createLineDecoder(dialect);
      correlate(texts.flatMap((text) => decoder.decode(Buffer.from(text), NOW_MS).events));
    },
  );

  /** Replaces each value of a line, innermost first. */
  const replaceValues = (line: string, replace: (value: unknown, index: number) => unknown): unknown => {
    let index = 0;
    return JSON.parse(line, (_, value) => replace(value, index++));
  };

  const countValues = (line: string): number => {
    let count = 0;
    replaceValues(line, (value) => {
      count++;
      return value;
    });
    return count;
  };

  /** A real line with one of its values replaced. */
  const damaged = fc.tuple(fc.constantFrom(...real), fc.nat(), fc.jsonValue()).map(([line, nth, other]) => {
    const place = nth % countValues(line);
    return JSON.stringify(replaceValues(line, (value, index) => (index === place ? other : value)));
  });

  property.prop([fc.constantFrom(...DIALECTS), fc.array(damaged, { maxLength: 30 })], { numRuns: 300 })(
    'real lines with a wrong value are accepted or rejected, and every span has ids and an end',
    (dialect, texts) => {
      const decoder = createLineDecoder(dialect);
      const { spans } = correlate(texts.flatMap((text) => decoder.decode(Buffer.from(text), NOW_MS).events));
      for (const span of spans) {
        expect(span.trace_id).toMatch(/^[0-9a-f]{32}$/);
        expect(span.span_id).toMatch(/^[0-9a-f]{16}$/);
        expect(span.end_ms).toBeTypeOf('number');
      }
      expect(new Set(identities(spans)).size).toBe(spans.length);
    },
  );
});

/** Which sessions a gateway is asked about again, how far back, and when. */
import { expect, test } from 'vitest';
import { createBackfill } from '../../../../src/source/gateway/backfill/backfill.js';
import type { Answer } from '../../../../src/source/gateway/connection/calls.js';
import type { Connection } from '../../../../src/source/gateway/connection/connection.js';
import type { EventFrame } from '../../../../src/source/gateway/connection/frames.js';
import { createGate } from '../../../../src/source/gateway/gate.js';
import { createOpenRuns } from '../../../../src/source/gateway/open-runs.js';
import { createProgress } from '../../../../src/source/gateway/position.js';
import { createNotifier } from '../../../../src/source/notifier.js';
import type { Json } from '../../../../src/util/json.js';

const NOW_MS = Date.UTC(2026, 10, 1);
const HOUR_MS = 3_600_000;
/** How much further back than the wanted time the gateway is asked. */
const MARGIN_MS = 5_000;

/** A tool call of a run that never ends, so its session stays pending. */
const startOfCall = (session_key: string, at_ms: number): Json => ({
  kind: 'tool_action',
  action: 'tool.action.started',
  runId: `run of ${session_key}`,
  sessionKey: session_key,
  occurredAt: at_ms,
  toolCallId: 'sha256:1',
  toolName: 'exec',
});

interface Question {
  hours: number;
  sessions: string[];
}

/** A gateway with calls that no transcript has; records the questions on one connection. */
function createAsked(sessions: string[], calls: Json[]) {
  const questions: Question[] = [];
  let isAnswering = true;
  const answers: Record<string, (params: Json) => Json> = {
    'audit.activity.list'({ after }) {
      questions.push({ hours: (NOW_MS - Number(after) - MARGIN_MS) / HOUR_MS, sessions: [] });
      return { events: calls.filter(({ occurredAt }) => Number(occurredAt) >= Number(after)) };
    },
    'sessions.list': () => ({ sessions: sessions.map((key) => ({ key, updatedAt: NOW_MS })) }),
    'sessions.get'({ key }) {
      questions.at(-1)?.sessions.push(String(key));
      return { messages: [] };
    },
  };
  const connection = {
    call: (method: string, params: Json): Promise<Answer> => {
      const payload = answers[method]?.(params) ?? {};
      return isAnswering ? Promise.resolve({ ok: true, payload }) : new Promise(() => undefined);
    },
    ended: new Promise(() => undefined),
    hello: { boot_id: 'boot' },
    clock_offset_ms: 0,
  } as unknown as Connection;
  return {
    connection,
    questions,
    fallSilent: () => {
      isAnswering = false;
    },
  };
}

type Asked = ReturnType<typeof createAsked>;

function start(first: Asked, seen_ms: number) {
  let connection: Connection | undefined = first.connection;
  const through = createNotifier();
  const runs = createOpenRuns();
  const progress = createProgress(undefined, runs.open);
  progress.see(seen_ms, 'boot');
  const backfill = createBackfill({
    stream: 'ws://gateway',
    resume: undefined,
    runs,
    progress,
    gate: createGate(() => undefined, through.notify),
    connection: () => connection,
    now: () => NOW_MS,
    add: () => undefined,
    reportStatus: async () => undefined,
  });
  return {
    backfill,
    /** Resolves when nothing is being asked and no line is held back. */
    through: () => through.wait(),
    connect({ connection: next }: Asked) {
      connection = undefined;
      backfill.lose('connection_lost');
      connection = next;
      backfill.start();
    },
  };
}

const message = (sessionKey: string): EventFrame =>
  ({ event: 'session.message', payload: { sessionKey } }) as EventFrame;

test('each pending session is asked about as far back as it needs, and only once something has been stored in it', async () => {
  const gateway = createAsked(['old', 'new'], [startOfCall('old', NOW_MS - 24 * HOUR_MS + 1)]);
  const { backfill, through } = start(gateway, NOW_MS - 24 * HOUR_MS);
  backfill.drop();
  await through();
  expect(gateway.questions).toEqual([{ hours: 24, sessions: ['old', 'new'] }]);
  backfill.askAbout('new', NOW_MS - HOUR_MS);
  await through();
  expect(gateway.questions.slice(1)).toEqual([{ hours: 1, sessions: ['new'] }]);
  backfill.see(message('old'));
  await through();
  expect(gateway.questions.slice(2)).toEqual([{ hours: 24, sessions: ['old'] }]);
});

test('a question that the end of a connection interrupts is asked again on the next one, as far back', async () => {
  const broken = createAsked(['quiet'], []);
  const { backfill, through, connect } = start(broken, NOW_MS);
  backfill.start();
  await through();
  broken.fallSilent();
  backfill.askAbout('quiet', NOW_MS - HOUR_MS);
  expect(broken.questions).toEqual([{ hours: 1, sessions: [] }]);
  const next = createAsked(['quiet'], []);
  connect(next);
  await through();
  expect(next.questions).toContainEqual({ hours: 1, sessions: ['quiet'] });
});

test('a session in which something is stored while it is asked about is asked about once more', async () => {
  const gateway = createAsked(['busy'], [startOfCall('busy', NOW_MS - HOUR_MS + 1)]);
  const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
  backfill.drop();
  backfill.see(message('busy'));
  await through();
  expect(gateway.questions).toEqual([
    { hours: 1, sessions: ['busy'] },
    { hours: 1, sessions: ['busy'] },
  ]);
});

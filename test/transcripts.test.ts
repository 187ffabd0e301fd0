/**
 * Real transcripts, written line by line into a followed directory as OpenClaw wrote them: the result must equal that of
 * reading the finished files.
 */
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createCorrelator } from '../src/correlate/index.js';
import { createIntake } from '../src/intake.js';
import type { Emission, SpanRecord } from '../src/model/telemetry.js';
import { createTranscriptsSource } from '../src/source/transcripts/index.js';
import { createSessionsLookup } from '../src/start/sessions.js';
import { correlate, decodeFile, fixture, merge, NOW_MS, readLines, sumOf } from './helpers.js';
import { opened, temporaryDirectory } from './source/helpers.js';

const IDS = [
  '502afadc-c6ea-4f42-91c0-c82f3d7863b4',
  '63b94a7b-8d26-41a2-8495-59116b76affe',
  '01e9fca5-ef39-4f46-8578-475529e4dfc4',
  '6b93b108-b764-4051-9b5f-8041fe5c7a73',
  'a4425e10-d1c8-4e63-8210-e22b8dfea6db',
];
const SESSIONS: Record<string, { sessionId: string }> = JSON.parse(
  readFileSync(fixture('transcripts/sessions.json'), 'utf8'),
);

interface Written {
  id: string;
  line: string;
  at: string;
}

/** All lines of all files in the order of their timestamps. */
const WRITTEN: Written[] = IDS.flatMap((id) =>
  readLines(fixture(`transcripts/${id}.jsonl`)).map((line) => ({ id, line, at: JSON.parse(line).timestamp })),
).sort((a, b) => a.at.localeCompare(b.at));

/** OpenClaw adds a session's row before the transcript's first line; later sessions have no row yet. */
function makeRow(sessions: string, ids: Set<string>): void {
  const rows = Object.entries(SESSIONS).filter(([, { sessionId }]) => ids.has(sessionId));
  writeFileSync(join(sessions, 'sessions.json.tmp'), JSON.stringify(Object.fromEntries(rows)));
  renameSync(join(sessions, 'sessions.json.tmp'), join(sessions, 'sessions.json'));
}

async function follow(): Promise<Emission> {
  const root = temporaryDirectory();
  const sessions = join(root, 'agents', 'main', 'sessions');
  mkdirSync(sessions, { recursive: true });
  const source = createTranscriptsSource('transcripts', root, {
    max_line_bytes: 1_000_000,
    from_start: false,
    poll_interval_ms: 60_000,
    resume: {},
  });
  const puller = await opened(source);
  await puller.batch();
  await puller.status('up');
  const intake = createIntake({
    dialect: 'auto',
    max_line_bytes: 1_000_000,
    onProblem: (problem) => expect.unreachable(problem.message),
    sessionsOf: createSessionsLookup(),
  });
  const correlator = createCorrelator();
  const emissions: Emission[] = [];
  const known = new Set<string>();
  for (const { id, line } of WRITTEN) {
    if (!known.has(id)) makeRow(sessions, known.add(id));
    appendFileSync(join(sessions, `${id}.jsonl`), `${line}\n`);
    const batch = await puller.batch();
    expect(batch.lines).toHaveLength(1);
    emissions.push(...intake.take(batch).map((event) => correlator.apply(event, NOW_MS)));
  }
  return merge([...emissions, correlator.close(NOW_MS)]);
}

const byId = (spans: SpanRecord[]): SpanRecord[] =>
  spans.toSorted((a, b) => a.span_id.localeCompare(b.span_id));

test('transcripts followed while they are written give the same spans as the finished ones', async () => {
  const live = await follow();
  const finished = correlate(IDS.flatMap((id) => decodeFile(fixture(`transcripts/${id}.jsonl`))));
  expect(finished.spans.length).toBeGreaterThan(15);
  expect(byId(live.spans)).toEqual(byId(finished.spans));
  expect(live.logs).toHaveLength(finished.logs.length);
  const tokens = 'gen_ai.client.inference.usage.output_tokens';
  expect(sumOf(live, tokens)).toBe(sumOf(finished, tokens));
});

test('finished transcripts give the same spans in any order', () => {
  const files = IDS.map((id) => decodeFile(fixture(`transcripts/${id}.jsonl`)));
  const [inOrder, reversed] = [correlate(files.flat()), correlate(files.toReversed().flat())];
  expect(byId(reversed.spans)).toEqual(byId(inOrder.spans));
});

/**
 * The state of the decoders across a restart: streams that continue are decoded as if there had been no restart, wherever they
 * were cut.
 */
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { readTranscriptIndex } from '../../src/decode/index.js';
import { createIntake, type Intake } from '../../src/intake.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { SavedRecord } from '../../src/model/record.js';
import { expectUndisturbed, moves, type Play, type Records, save, savedIn } from '../captures.js';
import { example, fixture, readLines } from '../helpers.js';

const RECORDINGS = [
  ...['abort-tool', 'ask', 'compact', 'err500', 'plain-anthropic', 'plain', 'progress', 'reconnect'],
  ...['reused-call-id', 'shutdown-busy', 'spawn', '2026.4.29/plain', '2026.4.29/tools'],
].map((name) => fixture(`gateway/${name}.ndjson`));

const TRANSCRIPTS = [
  '01e9fca5-ef39-4f46-8578-475529e4dfc4',
  '502afadc-c6ea-4f42-91c0-c82f3d7863b4',
  '63b94a7b-8d26-41a2-8495-59116b76affe',
  '6b93b108-b764-4051-9b5f-8041fe5c7a73',
  'a4425e10-d1c8-4e63-8210-e22b8dfea6db',
].map((id) => fixture(`transcripts/${id}.jsonl`));

const EXAMPLES = ['catalog', 'sub-agents', 'tools'].map((name) => example(`${name}.ndjson`));

const ALL = [...RECORDINGS, ...TRANSCRIPTS, ...EXAMPLES];
const linesOf = new Map(ALL.map((path) => [path, readLines(path)]));

const sessions = readTranscriptIndex(JSON.parse(readLines(fixture('transcripts/sessions.json')).join('\n')));

const create = (saved?: SavedRecord[]): Intake =>
  createIntake(
    {
      dialect: 'auto',
      max_line_bytes: 1_000_000,
      onProblem: (problem) => expect.fail(JSON.stringify(problem)),
      sessionsOf: () => sessions,
    },
    saved,
  );

interface Line {
  stream: string;
  line: string;
  end: boolean;
}

const takeLine = (intake: Intake, { stream, line, end }: Line, since_ms: number): unknown =>
  intake.take({
    kind: 'lines',
    stream,
    end,
    lines: [{ number: 1, bytes: Buffer.from(line) }],
    arrival_ms: 0,
    since_ms,
  });

const withEnd = (stream: string): Line[] => {
  const lines = linesOf.get(stream) ?? [];
  return lines.map((line, index) => ({ stream, line, end: index === lines.length - 1 }));
};

/** The lines of several streams, interleaved. */
function interleaved(streams: string[]): Line[] {
  const left = streams.map(withEnd);
  const lines: Line[] = [];
  for (let at = 0; left.some((each) => at < each.length); at++)
    lines.push(...left.flatMap((each) => each[at] ?? []));
  return lines;
}

const playOf = (lines: Line[], since_ms = 0): Play<Intake> => ({
  length: lines.length,
  create,
  step: (intake, index) => takeLine(intake, lines[index]!, since_ms),
});

/** Takes lines from a sender that may repeat them; the stream does not end. */
const takeLines = (intake: Intake, lines: Line[]): AgentEvent[] =>
  intake.take({
    kind: 'lines',
    stream: lines[0]?.stream ?? '',
    end: false,
    lines: lines.map(({ line }, index) => ({ number: index + 1, bytes: Buffer.from(line) })),
    arrival_ms: 0,
    may_repeat: true,
  });

/** Overlapping parts of up to seven lines: each begins some lines before the end of the previous one. */
function overlapping(lines: Line[], steps_back: number[]): Line[][] {
  const parts: Line[][] = [];
  for (let at = 0, index = 0; at < lines.length; index++) {
    const back = steps_back[index % steps_back.length] ?? 0;
    const end = at + 7 - back;
    parts.push(lines.slice(Math.max(0, at - back), end));
    at = end;
  }
  return parts;
}

const playOfParts = (parts: Line[][]): Play<Intake> => ({
  length: parts.length,
  create,
  step: (intake, index) => takeLines(intake, parts[index]!),
});

const TIMEOUT_MS = 60_000;

describe('captures', () => {
  property.prop([fc.constantFrom(...ALL), moves], { numRuns: 100 })(
    'a restored stream is decoded as if there had been no restart',
    (stream, next) => expectUndisturbed(playOf(withEnd(stream)), next),
    TIMEOUT_MS,
  );

  property.prop([fc.uniqueArray(fc.constantFrom(...ALL), { minLength: 2, maxLength: 4 }), moves], {
    numRuns: 30,
  })(
    'restored streams that are interleaved are decoded as if there had been no restart',
    (streams, next) => expectUndisturbed(playOf(interleaved(streams)), next),
    TIMEOUT_MS,
  );

  property.prop([fc.constantFrom(...TRANSCRIPTS), fc.nat(), moves], { numRuns: 30 })(
    'a transcript that is followed from some time on is followed from the same time after a restart',
    (stream, at, next) => {
      const lines = withEnd(stream);
      const since_ms = Date.parse(JSON.parse(lines[at % lines.length]!.line).timestamp ?? '');
      expectUndisturbed(playOf(lines, Number.isNaN(since_ms) ? 0 : since_ms), next);
    },
    TIMEOUT_MS,
  );

  property.prop([fc.constantFrom(...ALL), fc.array(fc.nat(6), { minLength: 1 }), moves], { numRuns: 50 })(
    'lines that are sent again in other batches are recognised as repeated',
    (stream, steps_back, next) => {
      const parts = overlapping(withEnd(stream), steps_back);
      expectUndisturbed(playOfParts(parts), next);
      const intake = create();
      const again = parts.flatMap((part) => takeLines(intake, part));
      const plain = create();
      const once = withEnd(stream).flatMap((line) => takeLines(plain, [line]));
      expect(again).toEqual(once);
      expect(intake.counts().lines).toBe(parts.flat().length);
      expect(intake.counts().ignored.repeated ?? 0).toBe(parts.flat().length - withEnd(stream).length);
    },
    TIMEOUT_MS,
  );

  property.prop([fc.constantFrom(...ALL), fc.infiniteStream(fc.nat(9))], { numRuns: 50 })(
    'damaged or missing records break nothing',
    (stream, damage) => {
      const lines = withEnd(stream);
      const first = create();
      for (const line of lines.slice(0, lines.length / 2)) takeLine(first, line, 0);
      const records = save(first);
      for (const [key, value] of records) {
        const kind = damage.next().value;
        if (kind < 2) records.delete(key);
        if (kind === 2) value[value.length >> 1] = (value[value.length >> 1] ?? 0) ^ 1;
      }
      const second = createIntake(
        { dialect: 'auto', max_line_bytes: 1_000_000, onProblem: () => undefined },
        savedIn(records),
      );
      for (const line of lines) takeLine(second, line, 0);
      expect(create(savedIn(save(second, records))).unusable_records).toBe(0);
    },
    TIMEOUT_MS,
  );
});

describe('a restored stream', () => {
  const held = fixture('gateway/2026.4.29/tools.ndjson');

  /** The saved state in the middle of the recording, where its decoder holds back the end of a call. */
  function cutWhileHeld(): Records {
    const intake = create();
    const lines = withEnd(held);
    for (const line of lines) {
      if (line.line.includes('"command_output"') && line.line.includes('"phase":"end"')) break;
      takeLine(intake, line, 0);
    }
    return save(intake);
  }

  test('that does not continue gives the events that its decoder held back, and is forgotten', () => {
    const records = cutWhileHeld();
    const intake = create(savedIn(records));
    expect(intake.streams()).toEqual([held]);
    expect(intake.end(held).map((event) => event.type)).toEqual(['tool.output']);
    expect(intake.counts().events).toBe(1);
    // The remaining record says which records are valid.
    expect([...save(intake, records).keys()]).toEqual(['decode/bound']);
    expect(create(savedIn(records)).streams()).toEqual([]);
  });

  test('is not continued in another dialect', () => {
    const options = { dialect: 'catalog', max_line_bytes: 1_000, onProblem: () => undefined } as const;
    const records = cutWhileHeld();
    const intake = createIntake(options, savedIn(records));
    expect(intake.streams()).toEqual([]);
    // All but the record that says which records are valid.
    expect(intake.unusable_records).toBe(records.size - 1);
  });

  test('that has ended leaves no records', () => {
    const intake = create();
    const records = save(intake);
    for (const line of withEnd(held)) {
      takeLine(intake, line, 0);
      save(intake, records);
      // One record says which of the others are valid.
      expect(records.size > 1).toBe(!line.end);
    }
  });
});

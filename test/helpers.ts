/**
 * Shared by the tests of decoding and correlating: from recordings to events, and from events to everything that is emitted.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type CorrelatorOptions, createCorrelator } from '../src/correlate/index.js';
import { createLineDecoder, type Dialect, readTranscriptIndex } from '../src/decode/index.js';
import type { Destination } from '../src/model/delivery.js';
import type { AgentEvent } from '../src/model/event.js';
import type { Emission, SpanRecord } from '../src/model/telemetry.js';

/** A time after all recordings: the time of a replay. */
export const NOW_MS = 1_800_000_000_000;

export const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));
export const example = (path: string): string =>
  fileURLToPath(new URL(`../examples/${path}`, import.meta.url));

export const readLines = (path: string): string[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');

/** The events of a recording. Throws if a line is rejected. */
export function decodeLines(lines: string[], dialect: Dialect = 'auto'): AgentEvent[] {
  const sessions = readTranscriptIndex(
    JSON.parse(readFileSync(fixture('transcripts/sessions.json'), 'utf8')),
  );
  const decoder = createLineDecoder(dialect, sessions);
  const events = lines.flatMap((line) => {
    const decoded = decoder.decode(Buffer.from(line), NOW_MS);
    if (decoded.rejected !== undefined)
      throw new Error(`${JSON.stringify(decoded.rejected)}: ${line.slice(0, 200)}`);
    return decoded.events;
  });
  return [...events, ...decoder.end()];
}

export const decodeFile = (path: string): AgentEvent[] => decodeLines(readLines(path));

export const merge = (emissions: Emission[]): Emission => ({
  spans: emissions.flatMap((each) => each.spans),
  previews: emissions.flatMap((each) => each.previews),
  corrections: emissions.flatMap((each) => each.corrections),
  logs: emissions.flatMap((each) => each.logs),
  measurements: emissions.flatMap((each) => each.measurements),
});

/** Applies all events at the same time and closes the correlator, as a replay does. */
export function correlate(events: AgentEvent[], options: CorrelatorOptions = {}): Emission {
  const correlator = createCorrelator(options);
  const emissions = events.map((event) => correlator.apply(event, NOW_MS));
  return merge([...emissions, correlator.close(NOW_MS)]);
}

/** Everything that a backend needs to draw the tree, except for order and times. */
export const identities = (spans: SpanRecord[]): string[] =>
  spans.map((span) => [span.trace_id, span.span_id, span.parent_span_id ?? '-', span.name].join(' ')).sort();

export const sumOf = ({ measurements }: Emission, instrument: string): number =>
  measurements
    .filter((each) => each.instrument === instrument)
    .reduce((total, { value }) => total + value, 0);

/** A destination that accepts everything at once, and a list of what it was given. */
export function createSink(): { destination: Destination; emitted: Emission[] } {
  const emitted: Emission[] = [];
  const nothing = async (): Promise<void> => undefined;
  const destination: Destination = {
    name: 'sink',
    accept: (emission) => void emitted.push(emission),
    collectMetrics: nothing,
    sendMetrics: () => undefined,
    summary: () => ({}),
    pending: () => 0,
    idle: nothing,
    close: nothing,
  };
  return { destination, emitted };
}

/**
 * The streams that have begun and not ended. Each has its own decoder, whose memory is persisted, so that it resumes after a
 * restart.
 */
import { numberText } from './capture/records.js';
import type { Tracked, TrackedBounded, Tracker } from './capture/tracked.js';
import { trackBounded } from './capture/tracked-bounded.js';
import { type Entry, TrackedMap } from './capture/tracked-map.js';
import {
  createRememberingDecoder,
  type Dialect,
  type RememberingDecoder,
  type TranscriptIndex,
} from './decode/index.js';
import type { AgentEvent } from './model/event.js';
import type { LineBatch } from './model/source.js';

export interface Stream extends Entry {
  key: string;
  since_ms: number | undefined;
  decoder: RememberingDecoder;
  /** Its decoder's maps, by name. Absent with `auto` until the first JSON object decides the dialect. */
  parts?: Record<string, TrackedBounded>;
}

/** The persisted record of a stream. */
interface SavedStream {
  key: string;
  number: number;
  since_ms: number | undefined;
  dialect: Dialect;
  state: unknown;
}

export interface StreamsOptions {
  dialect: Dialect;
  /** Reads the index of a transcript's sessions; called once per stream. */
  sessionsOf?(stream: string): TranscriptIndex | undefined;
}

export interface Streams {
  /** The stream of a batch, created if it is new. */
  of(batch: LineBatch): Stream;
  /** Tracks the decoder's maps. Call it after decoding lines: with `auto` the maps are known only from the first line on. */
  trackMaps(stream: Stream): void;
  /** Removes a stream, and returns the events that its decoder held back. */
  end(key: string): AgentEvent[];
  keys(): Iterable<string>;
  /** The parts to capture: of the streams that have changed since the last capture, or of all. */
  parts(everything: boolean): Tracked[];
  /** The part that a record belongs to, by the number and the name in its key. */
  partOf(number: string, name: string | undefined): Tracked | undefined;
  /** All of their records have been restored. */
  endRestore(): void;
}

/** Creates the set of streams; the keys of their records begin with the tracker's prefix. */
export function createStreams(options: StreamsOptions, tracker: Tracker): Streams {
  const streams = new TrackedMap<Stream>({
    tracker,
    prefix: tracker.prefix,
    keyOf: ({ key }) => key,
    save: saveStream,
    load: loadStream,
  });
  /** During a restore: streams by the number in their records' keys. */
  const restored = new Map<string, Stream>();

  function loadStream(content: unknown): Stream | undefined {
    const { key, number, since_ms, dialect, state } = content as SavedStream;
    if (options.dialect !== 'auto' && dialect !== options.dialect) return undefined;
    const stream = createStream(key, number, since_ms, dialect);
    stream.decoder.memory().state?.restore(state);
    restored.set(numberText(number), stream);
    return stream;
  }

  function createStream(key: string, number: number, since_ms: number | undefined, dialect: Dialect): Stream {
    const decoder = createRememberingDecoder(dialect, options.sessionsOf?.(key), since_ms);
    const stream: Stream = { key, number, epoch: 0, since_ms, decoder };
    trackMaps(stream);
    return stream;
  }

  function trackMaps(stream: Stream): void {
    const { decoder, number, parts } = stream;
    if (parts !== undefined || decoder.dialect() === 'auto') return;
    const prefix = `${tracker.prefix}${numberText(number)}/`;
    stream.parts = Object.fromEntries(
      Object.entries(decoder.memory().maps ?? {}).map(([name, map]) => [
        name,
        trackBounded(map, `${prefix}${name}/`, tracker),
      ]),
    );
  }

  return {
    of({ stream: key, since_ms }) {
      const known = streams.get(key);
      if (known !== undefined) return known;
      const stream = createStream(key, tracker.next_number++, since_ms, options.dialect);
      streams.set(key, stream);
      return stream;
    },
    trackMaps,
    end(key) {
      const stream = streams.get(key);
      streams.delete(key);
      for (const part of Object.values(stream?.parts ?? {})) part.drop();
      return stream?.decoder.end() ?? [];
    },
    keys: () => streams.keys(),
    parts(everything) {
      const changed = [...(everything ? streams.values() : streams.changed())];
      return [streams, ...changed.flatMap(({ parts = {} }) => Object.values(parts))];
    },
    partOf: (number, name) => (name === undefined ? streams : restored.get(number)?.parts?.[name]),
    endRestore: () => restored.clear(),
  };
}

function saveStream({ key, number, since_ms, decoder }: Stream): SavedStream {
  return { key, number, since_ms, dialect: decoder.dialect(), state: decoder.memory().state?.save() };
}

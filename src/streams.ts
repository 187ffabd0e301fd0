/**
 * The streams that have begun and not ended: each has a decoder of its own, whose memory is written down, so that it goes on after
 * a restart where it was.
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

/** A stream that has begun and not ended. */
export interface Stream extends Entry {
  key: string;
  since_ms: number | undefined;
  decoder: RememberingDecoder;
  /** Its decoder's maps, by name; with `auto` it has a decoder from its first object on. */
  parts?: Record<string, TrackedBounded>;
}

/** What the record of a stream says. */
interface SavedStream {
  key: string;
  number: number;
  since_ms: number | undefined;
  dialect: Dialect;
  state: unknown;
}

export interface StreamsOptions {
  dialect: Dialect;
  /** Names the sessions of a transcript file; asked once per stream. */
  sessionsOf?(stream: string): TranscriptIndex | undefined;
}

export interface Streams {
  /** The stream of a batch, which begins here where it has not yet. */
  of(batch: LineBatch): Stream;
  /** To be called after lines were decoded: with `auto` what there is to be tracked is known from the first one on. */
  trackMaps(stream: Stream): void;
  /** Forgets a stream, and gives out what its decoder held. */
  end(key: string): AgentEvent[];
  keys(): Iterable<string>;
  /** What is to be captured: of the streams that have changed since the last time, or of all. */
  parts(everything: boolean): Tracked[];
  /** The part that a record is of, by the number and the name in its key. */
  partOf(number: string, name: string | undefined): Tracked | undefined;
  /** All of their records have been taken back. */
  endRestore(): void;
}

/** The keys of their records begin with the prefix of the tracker. */
export function createStreams(options: StreamsOptions, tracker: Tracker): Streams {
  const streams = new TrackedMap<Stream>({
    tracker,
    prefix: tracker.prefix,
    keyOf: ({ key }) => key,
    save: saveStream,
    load: loadStream,
  });
  /** While they are restored: by the number in their records' keys. */
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

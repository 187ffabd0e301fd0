/**
 * Presets: what is known of each backend, as plain records. A preset is where a destination's settings start from;
 * options, the environment and the configuration file replace what they name.
 */

import { SIGNALS, type Signal } from '../model/delivery.js';
import type { ProfileName } from './profiles.js';

/** Of OTLP over HTTP: `application/json` and `application/x-protobuf`. */
export const ENCODINGS = ['json', 'protobuf'] as const;
/** How a request is written. */
export type Encoding = (typeof ENCODINGS)[number];

/** As `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` has them. */
export const TEMPORALITIES = ['cumulative', 'delta', 'lowmemory'] as const;
/** What a data point counts from: the start, or the point before; `lowmemory`: the start for observed instruments alone. */
export type Temporality = (typeof TEMPORALITIES)[number];

/** `replace`: a span is sent when it opens, and again when it ends, under the same id. */
export const OPEN_SPANS = ['none', 'replace'] as const;
/** What becomes of a span that has not ended; `none`: it waits for its end. */
export type OpenSpans = (typeof OPEN_SPANS)[number];

/** What a destination's settings start from. */
export interface Preset {
  /** The base: `/v1/<signal>` is added. */
  url: string;
  signals: readonly Signal[];
  encoding: Encoding;
  /** The backend takes no other encoding in its usual installation, so a general preference does not change it. */
  encoding_fixed: boolean;
  temporality: Temporality;
  /** The backend takes no other temporality, so a general preference does not change it. */
  temporality_fixed: boolean;
  profile: ProfileName;
  open_spans: OpenSpans;
  /** How long one request may take, its answer included. */
  timeout_ms: number;
}

const OTLP: Preset = {
  url: 'http://127.0.0.1:4318',
  signals: SIGNALS,
  encoding: 'protobuf',
  encoding_fixed: false,
  temporality: 'cumulative',
  temporality_fixed: false,
  profile: 'latest',
  open_spans: 'none',
  timeout_ms: 10_000,
};

/** The backends that are reached over OTLP; `otlp` stands for any other. */
export const OTLP_PRESET_NAMES = [
  'clawmetry',
  'jaeger',
  'collector',
  'grafana',
  'prometheus',
  'otlp',
] as const;
/** A backend that is reached over OTLP. */
export type OtlpPresetName = (typeof OTLP_PRESET_NAMES)[number];

/** `console` prints to the terminal: it is named like the others, and has no settings. */
export const PRESET_NAMES = [...OTLP_PRESET_NAMES, 'console'] as const;
/** What a destination may be made of: a backend, or the terminal. */
export type PresetName = (typeof PRESET_NAMES)[number];

/** Every backend's preset, by its name. */
export const PRESETS: Readonly<Record<OtlpPresetName, Preset>> = {
  clawmetry: {
    url: 'http://127.0.0.1:8900',
    signals: SIGNALS,
    encoding: 'json',
    encoding_fixed: true,
    // It adds up every point that it gets.
    temporality: 'delta',
    temporality_fixed: true,
    profile: 'clawmetry',
    open_spans: 'replace',
    // What it is still storing when the sender gives up would be sent, and stored, twice.
    timeout_ms: 30_000,
  },
  jaeger: { ...OTLP, signals: ['traces'] },
  collector: OTLP,
  grafana: OTLP,
  prometheus: {
    ...OTLP,
    url: 'http://127.0.0.1:9090/api/v1/otlp',
    signals: ['metrics'],
    temporality_fixed: true,
  },
  otlp: OTLP,
};

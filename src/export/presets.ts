/**
 * Presets: the settings that suit each backend, as plain records. A destination starts from its preset; options, the
 * environment and the configuration file override it.
 */

import { SIGNALS, type Signal } from '../model/delivery.js';
import type { ProfileName } from './profiles.js';

/** The encodings of OTLP over HTTP: `application/json` and `application/x-protobuf`. */
export const ENCODINGS = ['json', 'protobuf'] as const;
/** How a request is encoded. */
export type Encoding = (typeof ENCODINGS)[number];

/** The values of `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`. */
export const TEMPORALITIES = ['cumulative', 'delta', 'lowmemory'] as const;
/** What a data point counts from: the start, or the previous point; `lowmemory`: the start for observable instruments only. */
export type Temporality = (typeof TEMPORALITIES)[number];

/** `replace`: a span is sent when it opens, and again when it ends, with the same id. */
export const OPEN_SPANS = ['none', 'replace'] as const;
/** How open spans are handled; `none`: a span is sent when it ends. */
export type OpenSpans = (typeof OPEN_SPANS)[number];

/** The settings that a destination starts from. */
export interface Preset {
  /** The base URL; `/v1/<signal>` is added. */
  url: string;
  signals: readonly Signal[];
  encoding: Encoding;
  /** The backend accepts only this encoding in its usual installation, so a general preference does not change it. */
  encoding_fixed: boolean;
  temporality: Temporality;
  /** The backend accepts only this temporality, so a general preference does not change it. */
  temporality_fixed: boolean;
  profile: ProfileName;
  open_spans: OpenSpans;
  /** The time limit of a request, including the response. */
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

/** The backends that are reached over OTLP; `otlp` is any other. */
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

/** `console` prints to the terminal; it is named like the others, but has no settings. */
export const PRESET_NAMES = [...OTLP_PRESET_NAMES, 'console'] as const;
/** The preset of a destination: a backend, or the terminal. */
export type PresetName = (typeof PRESET_NAMES)[number];

/** The preset of each backend, by name. */
export const PRESETS: Readonly<Record<OtlpPresetName, Preset>> = {
  clawmetry: {
    url: 'http://127.0.0.1:8900',
    signals: SIGNALS,
    encoding: 'json',
    encoding_fixed: true,
    // ClawMetry adds up every point that it gets.
    temporality: 'delta',
    temporality_fixed: true,
    profile: 'clawmetry',
    open_spans: 'replace',
    // A request that times out while ClawMetry is still storing it would be sent, and stored, twice.
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

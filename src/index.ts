/**
 * The library. `createBridge` is what an embedding program needs; below it stand the stages that it is made of, for programs
 * that want one of them alone. Everything here is public and documented in docs/library.md; what is not exported here may
 * change at any time.
 */

export {
  type Correlator,
  type CorrelatorOptions,
  createCorrelator,
  DEFAULT_LIMITS,
  type Limits,
} from './correlate/index.js';
export {
  createLineDecoder,
  type Decoded,
  type DecoderMemory,
  DIALECTS,
  type Dialect,
  type LineDecoder,
  type Rejection,
  type RejectReason,
  readTranscriptIndex,
  type TranscriptIndex,
} from './decode/index.js';
export {
  createDestination,
  createMetrics,
  type DestinationConfig,
  type DestinationDependencies,
  type DestinationRecord,
  destinationSchema,
  type Metrics,
  PRESETS,
  type PresetName,
  parseDestinations,
  resolveDestinations,
  type SpanSink,
} from './export/index.js';
export { type Bridge, createBridge } from './library/bridge.js';
export { ConfigurationError } from './library/configuration-error.js';
export type { BridgeOptions, MessageLogger, ProcessorRecord } from './library/options.js';
export type { SourceRecord } from './library/sources.js';
export type { Destination, DestinationCounts, Signal, SignalCounts } from './model/delivery.js';
export {
  type AgentEvent,
  agentEventSchema,
  EVENT_TYPES,
  type EventOf,
  type EventType,
  eventJsonSchema,
  type WireEvent,
} from './model/event.js';
export type { Logger } from './model/logger.js';
export type { Capture, RecordChange, SavedRecord } from './model/record.js';
export {
  type LineBatch,
  type Positions,
  type Receipt,
  type RejectedLine,
  type Source,
  SourceError,
  type SourceLine,
  type SourceStatus,
} from './model/source.js';
export type {
  Attributes,
  Emission,
  InstrumentName,
  LogRecord,
  Measurement,
  SpanEvent,
  SpanKind,
  SpanRecord,
  SpanReference,
} from './model/telemetry.js';
export {
  type Access,
  createGatewaySource,
  createSource,
  type Devices,
  GATEWAY_BACKOFF,
  type GatewayOptions,
  type GatewayPosition,
  isLineSource,
  type ParsedSource,
  type PushOutcome,
  parseSourceName,
  type SourceOptions,
} from './source/index.js';
export type { Summary } from './summary.js';
export { buildForest, type RunNode, treeJson } from './terminal/tree.js';

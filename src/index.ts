/**
 * The library's exports. `createBridge` is what an embedding program needs; the stages it is made of follow, for programs that
 * need only one of them. Everything here is public: docs/library.md says what it is for, and each declaration what it takes and
 * returns. What is not exported here may change at any time.
 */

export type { CaptureOptions } from './capture/tracked.js';
export {
  type Correlator,
  type CorrelatorCounts,
  type CorrelatorOptions,
  createCorrelator,
  DEFAULT_LIMITS,
  type GivenLimits,
  type Limits,
} from './correlate/index.js';
export {
  createLineDecoder,
  type Decoded,
  DIALECTS,
  type Dialect,
  type LineDecoder,
  type Rejection,
  type RejectReason,
  readTranscriptIndex,
  type TranscriptIndex,
  type TranscriptSession,
} from './decode/index.js';
export {
  type Bearer,
  type BridgeSnapshot,
  type Compression,
  type ConfigurationProblem,
  type ConsoleConfig,
  createDestination,
  createMetrics,
  type DestinationConfig,
  type DestinationDependencies,
  type DestinationOption,
  type DestinationRecord,
  destinationSchema,
  type Encoding,
  type EndpointConfig,
  type ExportDestination,
  type Metrics,
  type OpenSpans,
  type OtlpPresetName,
  PRESETS,
  type Preset,
  type PresetName,
  type ProfileName,
  type ProxyServer,
  parseDestinations,
  resolveDestinations,
  type SpanSink,
  type Temporality,
  type TlsMaterial,
} from './export/index.js';
export type { SourceCounts } from './intake.js';
export { type Bridge, createBridge } from './library/bridge.js';
export { ConfigurationError } from './library/configuration-error.js';
export type { BridgeOptions, MessageLogger, ProcessorRecord } from './library/options.js';
export type { SourceRecord } from './library/sources.js';
export type {
  Answers,
  DeliveryProblem,
  Destination,
  DestinationCounts,
  DestinationOutbox,
  Outgoing,
  SavedDeliveries,
  Signal,
  SignalCounts,
  SignalLoad,
} from './model/delivery.js';
export {
  type AgentEvent,
  agentEventSchema,
  EVENT_TYPES,
  type EventOf,
  type EventType,
  eventJsonSchema,
  type WireEvent,
} from './model/event.js';
export type { Logger, LogMethod } from './model/logger.js';
export type { Capture, RecordChange, SavedRecord, StagedCapture } from './model/record.js';
export {
  type LineBatch,
  type Positions,
  type Receipt,
  type RejectedLine,
  type SkippedLine,
  type Source,
  SourceError,
  type SourceLine,
  type SourceStatus,
} from './model/source.js';
export type {
  Attributes,
  AttributeValue,
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
  type Backoff,
  type ConnectAddress,
  type Credentials,
  createGatewaySource,
  createSource,
  type Device,
  type Devices,
  GATEWAY_BACKOFF,
  type GatewayOptions,
  type GatewayPosition,
  isLineSource,
  type LineSource,
  type LineSourceKind,
  type OpenRun,
  type ParsedSource,
  type ParseFailure,
  type PushOutcome,
  parseSourceName,
  type SourceOptions,
} from './source/index.js';
export type { RunCounts, Summary } from './summary.js';
export { buildForest, type JsonNode, type RunNode, treeJson } from './terminal/tree.js';

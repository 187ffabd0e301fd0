/**
 * The export stage: resolves destinations from the command line, the environment and the configuration file, opens them, and
 * sends them the correlator's emissions.
 */
export { accessAdvice, isAccessRefused } from './access.js';
export type { Bearer } from './bearer.js';
export type { BridgeSnapshot } from './bridge-metrics.js';
export {
  type ConsoleConfig,
  type DestinationConfig,
  type DestinationRecord,
  destinationName,
  destinationSchema,
  type EndpointConfig,
  resolveDestinations,
  type TlsMaterial,
} from './config.js';
export { createDestination, type DestinationDependencies, type ExportDestination } from './destination.js';
export { type Compression, environmentNamesEndpoint } from './environment.js';
export { createMetricReader, createMetrics, type Metrics } from './metrics.js';
export { toReadableLogRecord, toReadableSpan } from './otlp/readable.js';
export {
  type ConfigurationProblem,
  type DestinationOption,
  nameDestinations,
  parseDestination,
  parseDestinations,
} from './parse.js';
export {
  type Encoding,
  type OpenSpans,
  type OtlpPresetName,
  PRESET_NAMES,
  PRESETS,
  type Preset,
  type PresetName,
  type Temporality,
} from './presets.js';
export { EMPTY_JSON, probeEndpoint } from './probe.js';
export { createProcessorDestination, type ProcessorsConfig, type SpanSink } from './processors.js';
export type { ProfileName } from './profiles.js';
export { type ProxyServer, throughProxy } from './proxy.js';
export { httpReason, isNotThere } from './reasons.js';
export { createResource, resourceProblem } from './resource.js';
export { redactSecrets } from './secrets.js';
export { createTotalsReader, type TotalsReader } from './totals.js';
export { isPage, isRetried, type Outcome as ExportOutcome, oneLine } from './verdict.js';

/**
 * The export stage: what `bridge.ts` needs to read destinations from the command line and the configuration file, to open
 * them, and to hand them what the correlator says.
 */
export { accessAdvice, isAccessRefused } from './access.js';
export type { BridgeSnapshot } from './bridge-metrics.js';
export {
  type ConsoleConfig,
  type DestinationConfig,
  type DestinationRecord,
  destinationName,
  destinationSchema,
  type EndpointConfig,
  resolveDestinations,
} from './config.js';
export { createDestination, type DestinationDependencies, type ExportDestination } from './destination.js';
export { environmentNamesEndpoint } from './environment.js';
export { createMetricReader, createMetrics, type Metrics } from './metrics.js';
export { toReadableLogRecord, toReadableSpan } from './otlp/readable.js';
export {
  type ConfigurationError,
  type DestinationOption,
  nameDestinations,
  parseDestination,
  parseDestinations,
} from './parse.js';
export { PRESET_NAMES, PRESETS, type PresetName } from './presets.js';
export { EMPTY_JSON, probeEndpoint } from './probe.js';
export { createProcessorDestination, type ProcessorsConfig, type SpanSink } from './processors.js';
export { httpReason } from './reasons.js';
export { createResource, newInstanceId, resourceProblem } from './resource.js';
export { redactSecrets } from './secrets.js';
export { createTotalsReader, type TotalsReader } from './totals.js';
export { type Outcome as ExportOutcome, oneLine } from './verdict.js';

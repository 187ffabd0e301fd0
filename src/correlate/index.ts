/** The correlator's public interface. */
export { type Correlator, type CorrelatorOptions, createCorrelator } from './correlator.js';
export {
  type CorrelatorCounts,
  DEFAULT_LIMITS,
  emptyEmission,
  type GivenLimits,
  type Limits,
  STATE_PREFIX,
} from './state.js';

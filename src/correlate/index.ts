/** The correlator's public interface. */
export { type Correlator, type CorrelatorOptions, createCorrelator } from './correlator.js';
export { DEFAULT_LIMITS, type GivenLimits, type Limits } from './limits.js';
export { type CorrelatorCounts, emptyEmission, STATE_PREFIX } from './state.js';

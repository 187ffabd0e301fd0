/** The most common set-up of the bridge: a store, and traces, metrics and log records to one destination. */
import type { SubjectPlan } from './subject.js';

export const DURABLE: SubjectPlan = { program: 'bridge', args: [], is_full: true, is_durable: true };

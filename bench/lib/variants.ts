/** The programs that are compared with each other. */
import type { SubjectPlan } from './subject.js';

export interface Variant extends SubjectPlan {
  name: string;
  says: string;
}

export const VARIANTS: readonly Variant[] = [
  { name: 'floor', says: 'floor', program: 'floor', args: [], is_full: false },
  { name: 'naive', says: 'naive, traces', program: 'naive', args: [], is_full: false },
  {
    name: 'naive-default',
    says: 'naive, traces, standard queue',
    program: 'naive',
    args: ['default-queue'],
    is_full: false,
  },
  {
    name: 'durable',
    says: '**bridge, traces**, durable',
    program: 'bridge',
    args: [],
    is_full: false,
    is_durable: true,
  },
  { name: 'memory', says: 'bridge, traces, `--no-store`', program: 'bridge', args: [], is_full: false },
  {
    name: 'naive-full',
    says: 'naive, traces, metrics, logs',
    program: 'naive',
    args: ['full'],
    is_full: true,
  },
  {
    name: 'durable-full',
    says: '**bridge, traces, metrics, logs**, durable',
    program: 'bridge',
    args: [],
    is_full: true,
    is_durable: true,
  },
  {
    name: 'memory-full',
    says: 'bridge, traces, metrics, logs, `--no-store`',
    program: 'bridge',
    args: [],
    is_full: true,
  },
];

export function variantNamed(name: string): Variant {
  const variant = VARIANTS.find((each) => each.name === name);
  if (variant === undefined)
    throw new Error(`--only: one of ${VARIANTS.map((each) => each.name).join(', ')}`);
  return variant;
}

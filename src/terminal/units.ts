/**
 * Amounts in readable form: `2.4 s`, `3 m 12 s`, `1.2k`, `1.3 MB`, `$0.0420`. Each is short, whatever the amount, and a value
 * that rounds up to the next unit is written in that unit.
 */

import { BYTES_PER_MB } from '../util/units.js';

const pad = (value: number): string => String(value).padStart(2, '0');

/** A duration in milliseconds: `850 ms`, `2.4 s`, `3 m 12 s`, `2 h 05 m`, `3 d 04 h`. */
export function formatDuration(duration_ms: number): string {
  const whole_ms = Math.max(0, Math.round(duration_ms));
  if (whole_ms < 1000) return `${whole_ms} ms`;
  const tenths = Math.round(whole_ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(whole_ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${pad(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${pad(hours % 24)} h`;
}

/** A count: `310`, `1.2k`, `45.1k`, `123k`, `1.2M`. */
export function formatCount(count: number): string {
  let value = count;
  for (const unit of ['', 'k', 'M', 'G', 'T', 'P']) {
    const text = unit === '' || value >= 99.95 ? String(Math.round(value)) : value.toFixed(1);
    if (Number(text) < 1000) return `${text}${unit}`;
    value /= 1000;
  }
  return count.toExponential(0);
}

/** A size: `16 KB`, `1.3 MB`. */
export function formatBytes(bytes: number): string {
  const whole_kb = Math.ceil(bytes / 1024);
  return whole_kb < 1000 ? `${whole_kb} KB` : `${(bytes / BYTES_PER_MB).toFixed(1)} MB`;
}

/** A part of a whole in percent; a part that is not zero is never `0%`. */
export function formatShare(part: number, whole: number): string {
  const percent = Math.round((100 * part) / whole);
  return percent === 0 && part > 0 ? '<1%' : `${percent}%`;
}

/** US dollars: `$0.0420`, `$1.25`, `$1.2k`. */
export function formatCost(cost_usd: number): string {
  if (cost_usd >= 1000) return `$${formatCount(cost_usd)}`;
  if (cost_usd >= 1) return `$${cost_usd.toFixed(2)}`;
  return cost_usd > 0 && cost_usd < 0.00005 ? '<$0.0001' : `$${cost_usd.toFixed(4)}`;
}

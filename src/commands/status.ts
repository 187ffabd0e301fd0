/**
 * `status`: the ledger of a bridge, running or stopped, from its data directory: what came in, what was made of it, and what
 * became of that at each destination. With `--check` the exit status says whether a bridge is running there.
 */

import { DEAD_LETTERS_PREFIX } from '../model/delivery.js';
import { LEDGER, type Ledger, type SignalLedger, type SourceLedger } from '../persistence/ledger.js';
import { openShared } from '../start/open-store.js';
import type { Settings } from '../start/settings.js';
import { hasLiveOwner, type Store } from '../store/index.js';
import { describeFaults, describeReasons, EXIT } from '../summary.js';
import { alignColumns } from '../terminal/columns.js';
import { formatBytes, formatDuration } from '../terminal/units.js';
import { printableJson, withoutControls } from '../util/controls.js';
import { counted } from '../util/counted.js';
import { failed, type Outcome } from './outcome.js';

/** The ledger is written once a second, but not while a large state is being written, nor during the drain. */
const FRESH_MS = 15_000;

/** The output of `--json`. */
export interface Status extends Omit<Ledger, 'running'> {
  directory: string;
  /** `killed`: it did not stop in an orderly way; the next start resumes from what it left. */
  state: 'running' | 'stopped' | 'killed';
  dead_letters: number;
}

export function readStatus(store: Store, directory: string): Status | undefined {
  const value = store.get(LEDGER);
  if (value === undefined) return undefined;
  const { running, ...ledger } = JSON.parse(Buffer.from(value).toString()) as Ledger;
  const state = running ? (hasLiveOwner(store) ? 'running' : 'killed') : 'stopped';
  return { ...ledger, directory, state, dead_letters: [...store.keys(DEAD_LETTERS_PREFIX)].length };
}

function describeSignal(ledger: SignalLedger, now_ms: number): string {
  const { produced, delivered, pending, pending_since_ms, rejected, dropped, last_error } = ledger;
  const age = pending_since_ms === undefined ? '' : ` (oldest: ${formatDuration(now_ms - pending_since_ms)})`;
  const parts = [
    `${produced} produced`,
    `${delivered} delivered`,
    `${pending} pending${age}`,
    describeReasons('rejected', rejected),
    describeReasons('dropped', dropped),
    last_error === undefined
      ? ''
      : `last error ${formatDuration(now_ms - last_error.at_ms)} ago: ${last_error.message}`,
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

/** A source's condition is shown for a running bridge only; after that it means nothing. */
function describeSource(
  { lines, events, ignored, rejected, condition }: SourceLedger,
  { state }: Status,
  now_ms: number,
): string {
  const is_down = state === 'running' && condition?.state === 'down';
  const parts = [
    counted(lines, 'line'),
    counted(events, 'event'),
    describeReasons('ignored', ignored),
    describeReasons('bad', rejected),
    is_down ? `down for ${formatDuration(now_ms - condition.since_ms)}: ${condition.message}` : '',
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

function describeState({ state, pid, started_ms, updated_ms }: Status, now_ms: number): string {
  const since = new Date(started_ms).toISOString();
  if (state === 'running') return `running since ${since}, process ${pid}`;
  const at = `${formatDuration(now_ms - updated_ms)} ago`;
  return state === 'stopped'
    ? `stopped ${at}`
    : `killed, last seen ${at}; the next start resumes where it stopped`;
}

function describeStatus(status: Status, now_ms: number): string[] {
  const { directory, store_bytes, sources, runs, destinations, dead_letters } = status;
  const rows: [string, string, string][] = [
    ['bridge', '', describeState(status, now_ms)],
    ['store', '', `${directory} · ${formatBytes(store_bytes)}`],
    ...Object.entries(sources).map(([name, source]): [string, string, string] => [
      'source',
      name,
      describeSource(source, status, now_ms),
    ]),
    [
      'runs',
      '',
      [`${runs.opened} opened`, `${runs.ended} ended`, `${runs.open} open`, ...describeFaults(runs)].join(
        ' · ',
      ),
    ],
    ...Object.entries(destinations).flatMap(([name, signals]) =>
      Object.entries(signals).map(([signal, ledger]): [string, string, string] => [
        name,
        signal,
        describeSignal(ledger, now_ms),
      ]),
    ),
    [
      'dead letters',
      '',
      dead_letters === 0 ? 'none' : `${dead_letters}; run \`dead-letters list\` to see them`,
    ],
  ];
  return alignColumns(rows.map((row) => row.map(withoutControls)));
}

/** Why the bridge is not healthy, for a health check. */
function sickness({ directory, state, updated_ms }: Status, now_ms: number): string | undefined {
  if (state !== 'running') return `no bridge is running with the data directory ${directory}; start \`run\``;
  const age_ms = now_ms - updated_ms;
  return age_ms <= FRESH_MS
    ? undefined
    : `the bridge with the data directory ${directory} has stored nothing for ${formatDuration(age_ms)}: it hangs or can't write to its disk; check its log and the disk`;
}

export interface StatusOptions {
  as_json: boolean;
  /** Whether the exit status says that a bridge is running. */
  check: boolean;
}

export async function status(settings: Settings, { as_json, check }: StatusOptions): Promise<Outcome> {
  const opened = await openShared(settings);
  if ('error' in opened) return failed(opened.error);
  const { store, directory } = opened;
  try {
    const found = readStatus(store, directory);
    if (found === undefined)
      return failed(
        `${directory}: no bridge has stored anything here yet; start \`run\` first, or pass its --data-dir`,
      );
    const now_ms = Date.now();
    const text = as_json ? printableJson(found) : describeStatus(found, now_ms).join('\n');
    process.stdout.write(`${text}\n`);
    const problem = check ? sickness(found, now_ms) : undefined;
    return problem === undefined ? { status: EXIT.ok } : failed(problem);
  } finally {
    await store.close();
  }
}

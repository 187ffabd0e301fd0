/**
 * `dead-letters`: data that backends refused for good. It can be inspected, sent again once the cause is fixed, or deleted,
 * also beside a running bridge.
 */

import { createDestination, type DestinationConfig, type ExportDestination } from '../export/index.js';
import { DEAD_LETTERS_PREFIX, ITEM_NOUNS, type Signal } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import { splitRecord } from '../model/record.js';
import { chooseDestinations } from '../start/destinations.js';
import { openShared } from '../start/open-store.js';
import type { Settings } from '../start/settings.js';
import type { Store } from '../store/index.js';
import { EXIT } from '../summary.js';
import { alignColumns } from '../terminal/columns.js';
import { printableJson } from '../util/controls.js';
import { counted } from '../util/counted.js';
import { groupBy } from '../util/group-by.js';
import { BYTES_PER_MB } from '../util/units.js';
import { within } from '../util/within.js';
import type { OnInterrupt } from './interrupt.js';
import { failed, misused, type Outcome } from './outcome.js';

/** A request, or part of one, that a backend refused for good. */
export interface DeadLetter {
  id: string;
  /** When it was refused, in epoch milliseconds. */
  at_ms: number;
  destination: string;
  signal: Signal;
  reason: string;
  message: string;
  /** How many of its items were refused; not every backend says which. */
  rejected: number;
  /** What each of its items adds to the counts. */
  counts: number[];
}

/** Reads the headers only: all contents together may not fit into memory. */
function* readLetters(store: Store): Generator<DeadLetter> {
  for (const { key, value } of store.entries(DEAD_LETTERS_PREFIX)) {
    try {
      const { header } = splitRecord(value);
      yield { ...(header as Omit<DeadLetter, 'id'>), id: key.slice(DEAD_LETTERS_PREFIX.length) };
    } catch {
      // The record is of another version.
    }
  }
}

const keyOf = ({ id }: DeadLetter): string => DEAD_LETTERS_PREFIX + id;

/** Undefined if it was removed meanwhile. */
function readBody(store: Store, letter: DeadLetter): Uint8Array | undefined {
  const value = store.get(keyOf(letter));
  return value && splitRecord(value).body;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);

/** The columns of the list. */
function describe({
  id,
  at_ms,
  destination,
  signal,
  reason,
  message,
  rejected,
  counts,
}: DeadLetter): string[] {
  const count = counts.reduce((total, each) => total + each, 0);
  const part = rejected < count ? `${rejected} of ` : '';
  const items = `${part}${counted(count, ITEM_NOUNS[signal])}`;
  return [id, new Date(at_ms).toISOString(), destination, items, reason, message];
}

/** Spans, log records or collected metrics, in the bridge's own form; how they are encoded is up to the destination. */
function contentOf(body: Uint8Array): unknown {
  const bytes = Buffer.from(body);
  try {
    return JSON.parse(bytes.toString());
  } catch {
    // The content is of another version.
    return { base64: bytes.toString('base64') };
  }
}

const noLetter = (id: string): string => `no dead letter ${id}; run \`dead-letters list\` to see the IDs`;

async function withLetters(
  settings: Settings,
  ids: readonly string[],
  act: (letters: DeadLetter[], store: Store) => Promise<Outcome> | Outcome,
): Promise<Outcome> {
  const opened = await openShared(settings);
  if ('error' in opened) return failed(opened.error);
  try {
    const letters = [...readLetters(opened.store)];
    const unknown = ids.find((id) => !letters.some((letter) => letter.id === id));
    if (unknown !== undefined) return failed(noLetter(unknown));
    const wanted = ids.length === 0 ? letters : letters.filter(({ id }) => ids.includes(id));
    return await act(wanted, opened.store);
  } finally {
    await opened.store.close();
  }
}

export const listDeadLetters = (settings: Settings, as_json: boolean): Promise<Outcome> =>
  withLetters(settings, [], (letters) => {
    if (as_json) print(printableJson(letters));
    else for (const line of alignColumns(letters.map(describe))) print(line);
    if (letters.length === 0 && !as_json) print('no dead letters');
    return { status: EXIT.ok };
  });

export const showDeadLetter = (id: string, settings: Settings): Promise<Outcome> =>
  withLetters(settings, [id], (letters, store) => {
    for (const letter of letters) {
      const body = readBody(store, letter);
      if (body === undefined) return failed(noLetter(letter.id));
      print(printableJson({ ...letter, content: contentOf(body) }, 2));
    }
    return { status: EXIT.ok };
  });

async function remove(store: Store, letters: DeadLetter[]): Promise<string | undefined> {
  const written = await store.write(letters.map((letter) => ({ key: keyOf(letter) })));
  return written.ok
    ? undefined
    : `can't delete dead letters from the store: ${written.message}; check that the data directory can be written`;
}

export const purgeDeadLetters = (ids: string[], settings: Settings): Promise<Outcome> =>
  withLetters(settings, ids, async (letters, store) => {
    const problem = await remove(store, letters);
    if (problem !== undefined) return failed(problem);
    print(`${counted(letters.length, 'dead letter')} deleted`);
    return { status: EXIT.ok };
  });

/** The reason of the first count that has grown. */
const grown = (before: Record<string, number>, after: Record<string, number>): string | undefined =>
  Object.entries(after).find(([reason, count]) => count > (before[reason] ?? 0))?.[0];

/** Sends one letter, alone in its lane. Undefined if all of it was accepted, else the reason why not. */
async function sendAgain(
  letter: DeadLetter,
  destination: ExportDestination,
  store: Store,
): Promise<string | undefined> {
  const { signal, counts } = letter;
  const body = readBody(store, letter);
  if (body === undefined) return 'already removed by another process';
  const before = destination.summary()[signal];
  const problem = destination.requeue(signal, body, counts);
  if (problem !== undefined) return problem;
  await destination.idle(signal);
  const after = destination.summary()[signal];
  if (before === undefined || after === undefined) return `${destination.name} does not accept ${signal}`;
  if (after.pending > 0) return 'no answer yet; kept as a dead letter';
  const rejected = grown(before.rejected, after.rejected);
  if (rejected !== undefined) return `rejected again: ${rejected}`;
  const dropped = grown(before.dropped, after.dropped);
  return dropped === undefined ? undefined : `not sent: ${dropped}`;
}

/** The progress of a `resend`. */
interface Resending {
  sent: number;
  /** True when no further letter is to be sent. */
  is_over: boolean;
  /** Why an accepted letter could not be removed; sent again, it would count twice. */
  problem?: string;
}

/** Removes each letter as soon as it is accepted, so that it is not sent twice, however the program ends. */
async function sendInTurn(
  letters: DeadLetter[],
  destination: ExportDestination,
  store: Store,
  resending: Resending,
): Promise<void> {
  for (const letter of letters) {
    const reason = resending.is_over
      ? 'not sent before resend ended; kept as a dead letter'
      : await sendAgain(letter, destination, store);
    if (reason !== undefined) {
      print(`${letter.id}: ${reason}`);
      continue;
    }
    const problem = await remove(store, [letter]);
    if (problem === undefined) {
      resending.sent += 1;
    } else {
      resending.problem = problem;
      resending.is_over = true;
    }
  }
}

/** Sends each lane's letters independently, so that a signal without answers does not delay the others. */
function sendAll(
  letters: DeadLetter[],
  destinations: ExportDestination[],
  { to }: Settings,
  store: Store,
  resending: Resending,
): Promise<unknown> {
  const only = to.length === 1 ? destinations[0] : undefined;
  const advice = to.length > 1 ? 'pass --to once, or one --to with this name' : 'configure it, or pass --to';
  const by_lane = groupBy(letters, ({ destination, signal }) => `${only?.name ?? destination} ${signal}`);
  const walks = [...by_lane.values()].map(async (lane) => {
    const name = lane[0]?.destination;
    const destination = only ?? destinations.find((each) => each.name === name);
    if (destination !== undefined) return sendInTurn(lane, destination, store, resending);
    for (const { id } of lane) print(`${id}: no destination named ${name}; ${advice}`);
    return undefined;
  });
  return Promise.all(walks);
}

/** The backends that can receive dead letters. */
async function chooseBackends(settings: Settings): Promise<DestinationConfig[] | { error: string }> {
  const chosen = await chooseDestinations(settings);
  if ('error' in chosen) return chosen;
  const configs = chosen.configs.filter((config) => config.preset !== 'console');
  if (settings.to.length > 0 && configs.length < chosen.configs.length)
    return {
      error:
        '--to console: dead letters can be resent only to a backend; run `dead-letters show ID` to print one',
    };
  return configs;
}

/** `--to` names the destination for all of them; without it, each goes to the destination of its own name. */
export const resendDeadLetters = (
  ids: string[],
  settings: Settings,
  logger: Logger,
  onInterrupt: OnInterrupt,
): Promise<Outcome> =>
  withLetters(settings, ids, async (letters, store) => {
    const configs = await chooseBackends(settings);
    if ('error' in configs) return misused(configs.error);
    const memory_limit_bytes = settings.limits.memory_mb * BYTES_PER_MB;
    const destinations = configs.map((config) => createDestination(config, { logger, memory_limit_bytes }));
    const resending: Resending = { sent: 0, is_over: false };
    const interrupted = new Promise<void>((resolve) => {
      onInterrupt(() => {
        logger.info(
          `stopping: waiting for answers for at most ${settings.drain} s; a second signal exits at once`,
        );
        resending.is_over = true;
        resolve();
      });
    });
    const sending = sendAll(letters, destinations, settings, store, resending);
    await Promise.race([
      within(settings.deadline * 1000, sending),
      interrupted.then(() => within(settings.drain * 1000, sending)),
    ]);
    resending.is_over = true;
    // Closing ends the wait for outstanding answers.
    await Promise.all(destinations.map((destination) => destination.close()));
    await sending;
    const { sent, problem } = resending;
    if (problem !== undefined) return failed(problem);
    print(`${sent} of ${counted(letters.length, 'dead letter')} sent`);
    return { status: sent === letters.length ? EXIT.ok : EXIT.incomplete };
  });

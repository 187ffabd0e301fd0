/**
 * `dead-letters`: what backends refused for good. It can be looked at, sent again when the reason for it is mended, or thrown
 * away; also beside a bridge that runs.
 */

import { createDestination, type ExportDestination } from '../export/index.js';
import { DEAD_LETTERS_PREFIX, type Signal } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import { splitRecord } from '../model/record.js';
import type { Settings } from '../settings.js';
import { chooseDestinations } from '../start/destinations.js';
import { openShared } from '../start/keeping.js';
import type { Store } from '../store/store.js';
import { EXIT } from '../summary.js';
import { within } from '../within.js';
import { failed, misused, type Outcome } from './outcome.js';

/** A request, or the part of one, that a backend refused for good. */
export interface DeadLetter {
  id: string;
  /** Epoch milliseconds. */
  at_ms: number;
  destination: string;
  signal: Signal;
  reason: string;
  message: string;
  /** Of what it holds, so much was refused; which part, not every backend says. */
  rejected: number;
  /** What each of its items counts as. */
  counts: number[];
}

interface Held extends DeadLetter {
  key: string;
  body: Uint8Array;
}

function* readLetters(store: Store): Generator<Held> {
  for (const { key, value } of store.entries(DEAD_LETTERS_PREFIX)) {
    try {
      const { header, body } = splitRecord(value);
      yield { ...(header as Omit<DeadLetter, 'id'>), id: key.slice(DEAD_LETTERS_PREFIX.length), key, body };
    } catch {
      // It is of another version.
    }
  }
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);

const describe = ({
  id,
  at_ms,
  destination,
  signal,
  reason,
  message,
  rejected,
  counts,
}: DeadLetter): string => {
  const count = counts.reduce((total, each) => total + each, 0);
  const part = rejected < count ? `${rejected} of ${count}` : `${count}`;
  return `${id}  ${new Date(at_ms).toISOString()}  ${destination}  ${part} ${signal}  ${reason}  ${message}`;
};

const toJson = ({ key: _, body: __, ...letter }: Held): DeadLetter => letter;

/** Spans, log records and what was collected of metrics, as they are; how they are sent is the destination's business. */
function contentOf({ body }: Held): unknown {
  const bytes = Buffer.from(body);
  try {
    return JSON.parse(bytes.toString());
  } catch {
    // It is of another version.
    return { base64: bytes.toString('base64') };
  }
}

async function withLetters(
  settings: Settings,
  ids: readonly string[],
  act: (letters: Held[], store: Store) => Promise<Outcome> | Outcome,
): Promise<Outcome> {
  const opened = await openShared(settings);
  if ('error' in opened) return failed(opened.error);
  try {
    const letters = [...readLetters(opened.store)];
    const unknown = ids.find((id) => !letters.some((letter) => letter.id === id));
    if (unknown !== undefined)
      return failed(`no dead letter ${unknown}; \`dead-letters list\` shows what there is`);
    const wanted = ids.length === 0 ? letters : letters.filter(({ id }) => ids.includes(id));
    return await act(wanted, opened.store);
  } finally {
    await opened.store.close();
  }
}

export const listDeadLetters = (settings: Settings, as_json: boolean): Promise<Outcome> =>
  withLetters(settings, [], (letters) => {
    if (as_json) print(JSON.stringify(letters.map(toJson)));
    else for (const letter of letters) print(describe(letter));
    if (letters.length === 0 && !as_json) print('no dead letters');
    return { status: EXIT.ok };
  });

export const showDeadLetter = (id: string, settings: Settings): Promise<Outcome> =>
  withLetters(settings, [id], (letters) => {
    for (const letter of letters)
      print(JSON.stringify({ ...toJson(letter), content: contentOf(letter) }, null, 2));
    return { status: EXIT.ok };
  });

async function remove(store: Store, letters: Held[]): Promise<string | undefined> {
  const written = await store.write(letters.map(({ key }) => ({ key })));
  return written.ok ? undefined : `can't change the store: ${written.message}`;
}

export const purgeDeadLetters = (ids: string[], settings: Settings): Promise<Outcome> =>
  withLetters(settings, ids, async (letters, store) => {
    const problem = await remove(store, letters);
    if (problem !== undefined) return failed(problem);
    print(`${letters.length} dead letters thrown away`);
    return { status: EXIT.ok };
  });

/** Sends one; undefined where all of it was taken, else what became of it. */
async function sendAgain(
  { signal, body, counts }: Held,
  destination: ExportDestination,
  deadline_ms: number,
): Promise<string | undefined> {
  const before = destination.summary()[signal];
  const problem = destination.takeBack(signal, body, counts);
  if (problem !== undefined) return problem;
  await within(deadline_ms, destination.idle());
  const after = destination.summary()[signal];
  if (before === undefined || after === undefined) return `${destination.name} takes no ${signal}`;
  if (after.pending > 0) return 'no answer yet; it stays here';
  const [reason] =
    Object.entries(after.rejected).find(([name, count]) => count > (before.rejected[name] ?? 0)) ?? [];
  return reason === undefined ? undefined : `refused again: ${reason}`;
}

/** `--to` names where all of them go; without it, each goes to the destination of its own name. */
export const resendDeadLetters = (ids: string[], settings: Settings, logger: Logger): Promise<Outcome> =>
  withLetters(settings, ids, async (letters, store) => {
    const chosen = await chooseDestinations(settings);
    if ('error' in chosen) return misused(chosen.error);
    const configs = chosen.configs.filter((config) => config.preset !== 'console');
    const memory_limit_bytes = settings.limits.memory_mb * 1024 * 1024;
    const destinations = configs.map((config) => createDestination(config, { logger, memory_limit_bytes }));
    const only = settings.to.length === 1 ? destinations[0] : undefined;
    const sent: Held[] = [];
    for (const letter of letters) {
      const destination = only ?? destinations.find(({ name }) => name === letter.destination);
      const problem =
        destination === undefined
          ? `no destination ${letter.destination}: give --to`
          : await sendAgain(letter, destination, settings.deadline * 1000);
      if (problem === undefined) sent.push(letter);
      else print(`${letter.id}: ${problem}`);
    }
    await Promise.all(destinations.map((destination) => destination.close()));
    const problem = await remove(store, sent);
    if (problem !== undefined) return failed(problem);
    print(`${sent.length} of ${letters.length} dead letters sent`);
    return { status: sent.length === letters.length ? EXIT.ok : EXIT.incomplete };
  });

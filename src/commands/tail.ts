/**
 * `tail`: prints the events of live sources, as catalog NDJSON or unchanged. The output can be saved, filtered, or piped into
 * `run --from stdin`, which gives the same ids.
 */
import { createIntake, createProblemLog, type Intake, type Problem } from '../intake.js';
import { type AgentEvent, EVENT_TYPES } from '../model/event.js';
import type { Logger } from '../model/logger.js';
import { type LineBatch, type Source, SourceError } from '../model/source.js';
import type { NamesOrigin } from '../start/origin.js';
import { createSessionsLookup } from '../start/sessions.js';
import type { Settings } from '../start/settings.js';
import { createSources } from '../start/sources.js';
import { EXIT } from '../summary.js';
import { printableJson } from '../util/controls.js';
import type { OnInterrupt } from './interrupt.js';
import { failed, misused, type Outcome } from './outcome.js';

export interface TailOptions {
  /** Prints lines unchanged, with all content, in the form that `replay` reads. */
  raw: boolean;
  /** Event types; all if empty. */
  types: string[];
  /** Session keys; all if empty. */
  sessions: string[];
  /** Where the sources are named. */
  origin: NamesOrigin;
}

const NEWLINE = Buffer.from('\n');

type IsWanted = (event: AgentEvent) => boolean;

const createFilter = ({ types, sessions }: Pick<TailOptions, 'types' | 'sessions'>): IsWanted => {
  const isOf = (wanted: string[], value: string): boolean => wanted.length === 0 || wanted.includes(value);
  return ({ type, session_key }) => isOf(types, type) && isOf(sessions, session_key);
};

/** Removes inputs, outputs and text; no id depends on them. */
function withoutContent(event: AgentEvent): object {
  const { input, output, text, ...rest } = event as AgentEvent & Record<'input' | 'output' | 'text', unknown>;
  return rest;
}

/** The lines of a batch, byte for byte, that give a wanted event; all lines if that is undefined. */
function rawLines(
  batch: LineBatch,
  source: Source,
  intake: Intake,
  isWanted: IsWanted | undefined,
): Buffer[] {
  const shown = batch.lines.flatMap((line) => {
    const events = intake.take({ ...batch, lines: [line], end: false }, source.name);
    const isShown = 'bytes' in line && (isWanted === undefined || events.some(isWanted));
    return isShown ? [line.bytes, NEWLINE] : [];
  });
  // Events that the decoder held back until the end belong to no single line.
  if (batch.end) intake.end(batch.stream);
  return shown;
}

/** Warns if `replay` would not give the same from the lines alone. */
function* rawCaveats(sources: Source[]): Generator<string> {
  if (sources.length > 1)
    yield '--raw with several sources: replay can read the output only if all of them use the same dialect';
  if (sources.some(({ name }) => name.startsWith('transcripts:')))
    yield '--raw with transcripts: the output lacks the session data of sessions.json; omit --raw to get it in the events';
}

/** Resolves when the output has been written, at its reader's pace, or could not be; `main.ts` handles the error. */
const print = (output: string | Buffer): Promise<void> =>
  new Promise((resolve) => {
    if (output.length === 0) resolve();
    else process.stdout.write(output, () => resolve());
  });

function createTailProblemLog(logger: Logger, isStopping: () => boolean): (problem: Problem) => void {
  const log = createProblemLog(logger);
  return (problem) => {
    // While stopping, this end cuts the line off itself.
    if (!isStopping() || problem.reason !== 'line_incomplete') log(problem);
  };
}

export async function tail(
  options: TailOptions,
  settings: Settings,
  logger: Logger,
  onInterrupt: OnInterrupt,
): Promise<Outcome> {
  const unknown = options.types.find((type) => !EVENT_TYPES.some((known) => known === type));
  if (unknown !== undefined)
    return misused(`--type ${unknown}: unknown event type; use one of ${EVENT_TYPES.join(', ')}`);
  const from = createSources(settings, { origin: options.origin, positions: {} });
  if ('error' in from) return misused(from.error);
  const { sources } = from;
  const isWanted = createFilter(options);
  const isFiltered = options.types.length + options.sessions.length > 0;
  const shown = (event: AgentEvent) => `${printableJson(settings.content ? event : withoutContent(event))}\n`;
  const printEvents = (events: AgentEvent[]): Promise<void> =>
    print(events.filter(isWanted).map(shown).join(''));
  let is_stopping = false;
  if (options.raw) for (const caveat of rawCaveats(sources)) logger.warn(caveat);

  async function printSource(source: Source): Promise<void> {
    const intake = createIntake({
      dialect: settings.dialect,
      max_line_bytes: settings.limits.line_bytes,
      onProblem: createTailProblemLog(logger, () => is_stopping),
      sessionsOf: createSessionsLookup((message) => logger.warn(message)),
    });
    for await (const item of await source.open()) {
      if (item.kind === 'status') {
        logger[item.state === 'up' ? 'info' : 'warn'](item.message);
        continue;
      }
      if (options.raw)
        await print(Buffer.concat(rawLines(item, source, intake, isFiltered ? isWanted : undefined)));
      else await printEvents(intake.take(item, source.name));
      item.receipt?.settle(true);
    }
    if (!options.raw) await printEvents(intake.end());
  }

  onInterrupt(() => {
    is_stopping = true;
    void Promise.all(sources.map((source) => source.close()));
  });
  try {
    await Promise.all(sources.map(printSource));
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    await Promise.all(sources.map((source) => source.close()));
    return failed(error.message);
  }
  return { status: EXIT.ok };
}

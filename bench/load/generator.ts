/**
 * The producer of a benchmark, in a process of its own: it writes a workload to a Unix socket as fast as possible, or at a
 * fixed pace.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { serveCalls } from '../lib/calls.js';
import { nowMs } from '../lib/clock.js';
import { copiesOf, type Recorded } from './recorded.js';
import { storyClock, tellAll, type Workload } from './workload.js';

export interface Paced {
  path: string;
  per_second: number;
  seconds: number;
  workload: Workload;
}

export type GeneratorCalls = {
  /** Generates a workload in advance, so that sending costs next to nothing. */
  prepare(workload: Workload): { events: number; bytes: number };
  /** Does the same for a recording. */
  prepareRecorded(recorded: Recorded): { events: number; bytes: number };
  /**
   * Sends what was prepared; resolves with the times of beginning and end. `is_kept_open`: more may be sent over this
   * connection.
   */
  send(to: { path: string; is_kept_open?: boolean }): Promise<{ began_ms: number; sent_ms: number }>;
  /** Sends events at a fixed pace, each with the time at which it is due to be sent. */
  pace(paced: Paced): Promise<{ began_ms: number; events: number; spans: number }>;
  hangUp(): void;
};

const CHUNK_BYTES = 64 * 1024;

let prepared: Buffer = Buffer.alloc(0);
let open: Socket | undefined;

function keep(lines: string[]): { events: number; bytes: number } {
  prepared = Buffer.from(lines.join(''));
  return { events: lines.length, bytes: prepared.length };
}

function prepare(workload: Workload): { events: number; bytes: number } {
  const lines: string[] = [];
  for (const { event } of tellAll(workload, storyClock())) lines.push(`${JSON.stringify(event)}\n`);
  return keep(lines);
}

const prepareRecorded = (recorded: Recorded): { events: number; bytes: number } =>
  keep([...copiesOf(recorded)].flat());

const RETRY_MS = 5;
const MAX_TRIES = 100;

/** The socket's file exists a moment before the program listens on it. */
async function connectTo(path: string, tries = MAX_TRIES): Promise<Socket> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return socket;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED' || tries <= 1) throw error;
    await sleep(RETRY_MS);
    return connectTo(path, tries - 1);
  }
}

async function send({ path, is_kept_open = false }: { path: string; is_kept_open?: boolean }) {
  const socket = await connectTo(path);
  const began_ms = nowMs();
  for (let at = 0; at < prepared.length; at += CHUNK_BYTES) {
    const is_taken = socket.write(prepared.subarray(at, at + CHUNK_BYTES));
    if (!is_taken) await once(socket, 'drain');
  }
  const sent_ms = nowMs();
  if (is_kept_open) open = socket;
  else socket.end();
  return { began_ms, sent_ms };
}

/** Events due within this interval are sent together. */
const TICK_MS = 1;

/** Sleeps to a fraction of a millisecond, which timers can't. */
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const sleepUntil = (due_ms: number): void => void Atomics.wait(sleeper, 0, 0, Math.max(0, due_ms - nowMs()));

/** The time allowed for generating, about three times of what it takes. */
const TELLING_MS = 1_000;
const TELLING_MS_PER_EVENT = 0.03;

interface Ahead {
  began_ms: number;
  /** One buffer per tick, with the events due at its time. */
  ticks: Buffer[];
  events: number;
  spans: number;
}

/** Generates the events due from `began_ms` on. */
function tellAhead({ per_second, seconds, workload }: Paced, tick_ms: number, began_ms: number): Ahead {
  const ahead: Ahead = { began_ms, ticks: [], events: 0, spans: 0 };
  const per_tick = (per_second * tick_ms) / 1_000;
  let due_ms = began_ms;
  const story = tellAll(workload, () => due_ms);
  for (let tick = 0; tick * tick_ms < seconds * 1_000; tick++) {
    due_ms = began_ms + tick * tick_ms;
    const lines: string[] = [];
    for (; ahead.events < (tick + 1) * per_tick; ahead.events++) {
      const { value } = story.next();
      if (!value) break;
      if (value.span !== undefined) ahead.spans++;
      lines.push(`${JSON.stringify(value.event)}\n`);
    }
    ahead.ticks.push(Buffer.from(lines.join('')));
  }
  return ahead;
}

/**
 * Generates all events before the first is due: doing it at their pace would take a third of a core from the measured
 * program.
 */
function tellInTime(paced: Paced, tick_ms: number): Ahead {
  const least_ms = TELLING_MS + TELLING_MS_PER_EVENT * paced.per_second * paced.seconds;
  for (let lead_ms = least_ms; ; lead_ms *= 2) {
    const ahead = tellAhead(paced, tick_ms, nowMs() + lead_ms);
    if (nowMs() < ahead.began_ms) return ahead;
  }
}

async function pace(paced: Paced) {
  const tick_ms = Math.max(TICK_MS, 1_000 / paced.per_second);
  const socket = await connectTo(paced.path);
  const { began_ms, ticks, events, spans } = tellInTime(paced, tick_ms);
  for (const [tick, lines] of ticks.entries()) {
    sleepUntil(began_ms + tick * tick_ms);
    socket.write(lines);
    // What the socket does not accept at once is buffered, so the pace is kept.
    await nextTurn();
  }
  socket.end();
  return { began_ms, events, spans };
}

serveCalls<GeneratorCalls>(
  { prepare, prepareRecorded, send, pace, hangUp: () => void open?.end() },
  'generator',
);

/**
 * A producer on one Unix socket of the bridge: it writes stories line by line and notes when each line was written. Lines
 * that were in flight when the bridge ended may be lost, and are never sent again.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.js';
import { createStories } from './stories.js';
import type { Told } from './story.js';

/** The bridge promises a second; the rest allows for two busy processes. */
export const DURABLE_MS = 1_200;

export interface Line {
  /** The name of the socket that it was written to. */
  source: string;
  /** The process that it was written to, counted from 0. */
  life: number;
  /** Unique to the event. */
  ts_ms: number;
  written_ms: number;
  text: string;
  event: Told;
  /**
   * Whether a log record must show that it arrived. False for partial outputs, which have none, and for repeated events.
   */
  is_marked: boolean;
}

export interface Feeder {
  /** For `--from`. */
  from: string;
  /** Resolves when the bridge is connected, or `stop` aborts. */
  connect(stop: AbortSignal): Promise<void>;
  /** Writes this many lines, or fewer if `stop` aborts. */
  feed(life: number, lines: number, stop: AbortSignal): Promise<void>;
  /** Writes all stories to their end. */
  finish(life: number, stop: AbortSignal): Promise<void>;
  /** Reports when the process ended or was told to: lines written shortly before may not have arrived. */
  ended(life: number, at_ms: number): void;
  close(): void;
}

export interface FeederOptions {
  name: string;
  path: string;
  /** Which side listens on the socket. */
  listens: 'bridge' | 'feeder';
  random: Random;
  /** Gives each event its timestamp. */
  nextTime: () => number;
  /** Collects all lines in the order of writing. */
  written: Line[];
}

const RETRY_MS = 20;
const MAX_BATCH_LINES = 8;
const MAX_PAUSE_MS = 15;
const MAX_REPEATED = 3;

/** Ever later timestamps, across all stories. */
export function createTimes(random: Random): () => number {
  let now_ms = Date.UTC(2026, 0, 1);
  return () => {
    now_ms += random.int(1, 40);
    return now_ms;
  };
}

async function connectTo(path: string, stop: AbortSignal): Promise<Socket | undefined> {
  while (!stop.aborted) {
    const socket = connect(path);
    const failed = await once(socket, 'connect').then(
      () => false,
      () => true,
    );
    if (!failed) return socket;
    await sleep(RETRY_MS);
  }
  return undefined;
}

async function accept(server: Server, stop: AbortSignal): Promise<Socket | undefined> {
  const [socket] = await once(server, 'connection', { signal: stop }).catch(() => []);
  return socket;
}

async function write(socket: Socket, lines: Line[]): Promise<void> {
  const isTaken = socket.write(lines.map(({ text }) => text).join(''));
  if (!isTaken && !socket.destroyed) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
}

const isSilent = ({ type, partial }: Told): boolean => type === 'tool.output' && partial === true;

export async function createFeeder(options: FeederOptions): Promise<Feeder> {
  const { name, path, listens, random, nextTime, written } = options;
  const stories = createStories(random, name);
  const server = listens === 'feeder' ? createServer().listen(path) : undefined;
  if (server !== undefined) await once(server, 'listening');
  server?.on('connection', (each) => each.on('error', () => undefined));
  let socket: Socket | undefined;
  const arrived: Line[] = [];

  function nextLine(life: number): Line | undefined {
    const written_ms = Date.now();
    const event = stories.next(written_ms);
    if (event === undefined) return undefined;
    const ts_ms = nextTime();
    const text = `${JSON.stringify({ ...event, ts: ts_ms })}\n`;
    return { source: name, life, ts_ms, written_ms, text, event, is_marked: !isSilent(event) };
  }

  /** Some lines that have certainly arrived; repeated, they must not count a second time. */
  const again = (life: number): Line[] =>
    random
      .shuffle(arrived)
      .slice(0, random.int(0, MAX_REPEATED))
      .map((line) => ({ ...line, life, written_ms: Date.now(), is_marked: false }));

  function nextBatch(life: number, most: number): Line[] {
    const batch: Line[] = [];
    for (let left = Math.min(most, random.int(1, MAX_BATCH_LINES)); left > 0; left--) {
      const line = nextLine(life);
      if (line !== undefined) batch.push(line);
    }
    return batch;
  }

  async function send(lines: Line[]): Promise<void> {
    if (socket === undefined) return;
    written.push(...lines);
    await write(socket, lines);
  }

  async function feed(life: number, lines: number, stop: AbortSignal): Promise<void> {
    await send(again(life));
    let left = lines;
    while (left > 0 && !stop.aborted && socket !== undefined) {
      const batch = nextBatch(life, left);
      if (batch.length === 0) return;
      left -= batch.length;
      await send(batch);
      await sleep(random.int(0, MAX_PAUSE_MS));
    }
  }

  return {
    from: listens === 'bridge' ? `listen:unix:${path}` : `unix:${path}`,
    async connect(stop) {
      socket = server === undefined ? await connectTo(path, stop) : await accept(server, stop);
      socket?.on('error', () => undefined);
    },
    feed(life, lines, stop) {
      stories.choose(false);
      return feed(life, lines, stop);
    },
    finish(life, stop) {
      stories.choose(true);
      return feed(life, Infinity, stop);
    },
    ended(life, at_ms) {
      socket?.destroy();
      socket = undefined;
      stories.forgetAfter(at_ms - DURABLE_MS);
      const isSure = (line: Line): boolean => line.life === life && line.written_ms <= at_ms - DURABLE_MS;
      arrived.push(
        ...written.filter(
          (line) => line.source === name && line.is_marked && 'seq' in line.event && isSure(line),
        ),
      );
    },
    close() {
      socket?.destroy();
      server?.close();
    },
  };
}

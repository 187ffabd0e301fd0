/**
 * The source `otlp:HOST:PORT`: accepts OTLP/HTTP log exports, as a Collector sends them, whose log records have lines of events
 * as their bodies. A sender is answered when what it sent is persisted, so that it can keep it until then.
 */
import { once } from 'node:events';
import type { Positions, Source } from '../../model/source.js';
import { errorReason } from '../../util/errors.js';
import { createReaderSource, type Push } from '../reader.js';
import { boundAddress, listen } from '../socket/listen.js';
import { isFinal } from './answers.js';
import { PATH } from './http.js';
import { createOutcome } from './outcome.js';
import type { SentRecord } from './record.js';
import { type Bounds, createLogsServer } from './server.js';
import { createStreams } from './streams.js';

export interface OtlpOptions {
  max_line_bytes: number;
  /** Positions of the streams of an earlier process. */
  resume: Positions;
  bounds?: Partial<Bounds>;
  max_streams?: number;
}

/** The Collector's own limit by default. */
const MIN_BODY_BYTES = 20 * 1024 * 1024;
const HELD_BODIES = 3;

/** A line has to fit into a request, and may be twice as long there. */
function boundsFor(max_line_bytes: number): Bounds {
  const body_bytes = Math.max(MIN_BODY_BYTES, 2 * max_line_bytes);
  return {
    body_bytes,
    held_bytes: HELD_BODIES * body_bytes,
    held_requests: 64,
    request_ms: 30_000,
    stop_ms: 2_000,
  };
}

/** Maximum number of problems that are logged one by one. */
const MAX_WARNINGS = 20;

/** Logs the first problems. Not awaited, since no reading has to wait for it. */
function createWarnings(name: string, push: Push): (what: string) => void {
  let count = 0;
  return (what) => {
    count += 1;
    if (count > MAX_WARNINGS) return;
    const more = count === MAX_WARNINGS ? '; further problems of this source are not logged' : '';
    void push({ kind: 'status', state: 'down', message: `${name} ${what}${more}` });
  };
}

/** Opening it throws a `SourceError` if the address is taken or not available. */
export function createOtlpSource(
  name: string,
  address: { host: string; port: number },
  { max_line_bytes, resume, bounds = {}, ...more }: OtlpOptions,
): Source {
  return createReaderSource(name, async (push, stop) => {
    const streams = createStreams(name, { max_line_bytes, resume, ...more });

    async function handOver(records: readonly SentRecord[]) {
      const outcome = createOutcome();
      for (const { batch, record_of } of streams.portions(records))
        await push({ ...batch, receipt: outcome.receipt(record_of) });
      return { settled: outcome.settled() };
    }

    const warn = createWarnings(name, push);
    const { server, stop: stopServer } = createLogsServer({
      bounds: { ...boundsFor(max_line_bytes), ...bounds },
      handOver,
      // A request that the sender will repeat is not worth a warning.
      onRefusal: (refusal) => {
        if (isFinal(refusal)) warn(`rejected a request (${refusal.status}): ${refusal.message}`);
      },
    });
    await listen(name, server, address);
    server.on('error', (error) => warn(`can't accept connections: ${errorReason(error)}`));
    return async () => {
      const message = `${name} accepts log records at http://${boundAddress(server)}${PATH}`;
      void push({ kind: 'status', state: 'up', message });
      if (!stop.aborted) await once(stop, 'abort');
      await stopServer();
    };
  });
}

/**
 * A bridge that follows a gateway, by a way of its own that can be cut, into a sink of its own. It can be ended and started
 * again with what it had kept.
 */
import { atEndOfFile } from '../../cli/concurrent.js';
import { expectNoStack, type Program, start, temporaryDirectory } from '../../cli/program.js';
import { type Sink, startSink } from '../../cli/sink.js';
import { openWay, type Way } from './proxy.js';

export interface Follower {
  sink: Sink;
  way: Way;
  start(): void;
  /** Resolves once the one that runs now has said this. */
  said(pattern: RegExp): Promise<void>;
  /** Sends a signal and resolves with the exit status when it has ended; null where the signal ended it. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
  /** All that was ever said. */
  output(): string;
}

export async function createFollower(gateway: { port: number; token: string }): Promise<Follower> {
  const [sink, way] = await Promise.all([startSink(), openWay(gateway.port)]);
  atEndOfFile(() => void way.stop());
  const directory = temporaryDirectory();
  const programs: Program[] = [];
  const current = (): Program => {
    const program = programs.at(-1);
    if (program === undefined) throw new Error('it has not been started');
    return program;
  };
  return {
    sink,
    way,
    start() {
      const from = ['--from', `ws://127.0.0.1:${way.port}`];
      const program = start(['run', ...from, '--to', `otlp=${sink.url}`, '--data-dir', directory], {
        env: {
          // No OpenClaw of whoever runs the tests is looked at.
          HOME: directory,
          OPENCLAW_GATEWAY_TOKEN: gateway.token,
          // What several processes have counted can be added up.
          OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta',
        },
      });
      programs.push(program);
    },
    said: (pattern) => current().untilLogged(pattern),
    async end(signal = 'SIGTERM') {
      current().signal(signal);
      const ended = await current().ended;
      expectNoStack(ended);
      return ended.status;
    },
    output: () =>
      programs
        .map((program) => program.said())
        .map(({ stdout, stderr }) => stdout + stderr)
        .join(''),
  };
}

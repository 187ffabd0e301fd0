/**
 * A bridge that follows a gateway through a proxy of its own, which can be cut, into a sink of its own. It can be stopped
 * and started again on its data directory.
 */
import { atEndOfFile } from '../../cli/concurrent.js';
import { expectNoStack, type Program, start, temporaryDirectory } from '../../cli/program.js';
import { type Sink, startSink } from '../../cli/sink.js';
import { openWay, type Way } from './proxy.js';

export interface Follower {
  sink: Sink;
  way: Way;
  start(): void;
  /** Resolves once the current process has logged this. */
  said(pattern: RegExp): Promise<void>;
  /** Sends a signal and resolves with the exit status; null if the signal ended the process. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
  /** The output of all processes so far. */
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
          // An OpenClaw installed for the current user is not looked at.
          HOME: directory,
          OPENCLAW_GATEWAY_TOKEN: gateway.token,
          // Delta sums of several processes can be added up.
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

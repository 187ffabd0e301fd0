/** The two ends of a measurement, the producer and the backend, each in a process of its own. */
import type { GeneratorCalls } from '../load/generator.js';
import type { SinkCalls } from '../sink/sink.js';
import { type Remote, startRemote } from './calls.js';

export interface Ends {
  sink: Remote<SinkCalls>;
  generator: Remote<GeneratorCalls>;
}

export const startEnds = async (): Promise<Ends> => ({
  sink: await startRemote<SinkCalls>(new URL('../sink/sink.js', import.meta.url)),
  generator: await startRemote<GeneratorCalls>(new URL('../load/generator.js', import.meta.url)),
});

export function stopEnds({ sink, generator }: Ends): void {
  sink.stop();
  generator.stop();
}

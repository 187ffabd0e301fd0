/**
 * Reads recordings to their end without sending anything: for `tree`, for `validate`, and to find the length of a recording.
 */
import type { Dialect } from '../decode/index.js';
import { createIntake, type Problem, type SourceCounts } from '../intake.js';
import type { AgentEvent } from '../model/event.js';
import type { Source } from '../model/source.js';
import { createSource } from '../source/index.js';
import { createSessionsLookup } from '../start/sessions.js';

/** A source that reads a file to its end. */
const openRecording = (path: string, max_line_bytes: number): Source =>
  createSource({ kind: 'file', name: path, path }, { mode: 'to_end', max_line_bytes });

export interface ReadOptions {
  dialect: Dialect;
  max_line_bytes: number;
  onEvents?(events: AgentEvent[]): void;
  onProblem?(problem: Problem): void;
  /** Called after each batch; once it returns true, the rest is not read. */
  isEnough?(): Promise<boolean> | boolean;
}

/** Reads files one after the other. Throws a `SourceError` if one can't be opened. */
export async function readThrough(files: string[], options: ReadOptions): Promise<SourceCounts> {
  const intake = createIntake({
    dialect: options.dialect,
    max_line_bytes: options.max_line_bytes,
    onProblem: options.onProblem ?? (() => {}),
    sessionsOf: createSessionsLookup(),
  });
  for (const file of files) {
    const source = openRecording(file, options.max_line_bytes);
    for await (const item of await source.open()) {
      if (item.kind !== 'lines') continue;
      const events = intake.take(item);
      options.onEvents?.(events);
      if ((await options.isEnough?.()) !== true) continue;
      await source.close();
      return intake.counts();
    }
  }
  return intake.counts();
}

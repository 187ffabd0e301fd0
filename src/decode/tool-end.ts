/**
 * How the end of a tool call becomes an event, the same from a gateway's frames and from transcripts.
 */
import type { Json } from '../util/json.js';

export interface ToolEnd {
  call_id: unknown;
  tool: string | undefined;
  is_error: boolean;
  exit_code: number | undefined;
  output: string | undefined;
  /** What the tool says of its failure, apart from its output. */
  message?: string | undefined;
}

/** What a command has printed is its output, and no message: one that fails has its exit code. */
export function toolEnd({ call_id, tool, is_error, exit_code, output, message = output }: ToolEnd): Json {
  const hasCode = exit_code !== undefined && exit_code !== 0;
  return is_error && !hasCode
    ? { type: 'tool.error', call_id, tool, error: { type: 'error', message: message ?? 'the tool failed' } }
    : { type: 'tool.output', call_id, tool, exit_code, output };
}

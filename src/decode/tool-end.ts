/**
 * Turns the end of a tool call into an event, in the same way for a gateway's frames and for transcripts.
 */
import { CUT_OFF } from '../model/cut-off.js';
import type { Json } from '../util/json.js';

export interface ToolEnd {
  call_id: unknown;
  tool: string | undefined;
  is_error: boolean;
  exit_code: number | undefined;
  output: string | undefined;
  /** The tool's own message about its failure, apart from its output. */
  message?: string | undefined;
}

/** The output of a command is not an error message: a command that fails has its exit code. */
export function toolEnd({ call_id, tool, is_error, exit_code, output, message = output }: ToolEnd): Json {
  const hasCode = exit_code !== undefined && exit_code !== 0;
  if (!is_error || hasCode) return { type: 'tool.output', call_id, tool, exit_code, output };
  const type = output === CUT_OFF ? 'cancelled' : 'error';
  return { type: 'tool.error', call_id, tool, error: { type, message: message ?? 'the tool failed' } };
}

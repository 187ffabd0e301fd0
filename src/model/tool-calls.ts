/** The tool calls that a stored message of the assistant requests: the blocks of its content that have that type. */
import { type Json, list, object } from '../util/json.js';

export const callsIn = ({ content }: Json): Json[] =>
  list(content)
    .map(object)
    .filter(({ type }) => type === 'toolCall');

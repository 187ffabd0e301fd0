/**
 * Run ids of "announce" runs: with these OpenClaw continues a request after its sub-agents are done. The id names the child
 * runs that the run reports on, and ids nest if a child was itself an announce run.
 */

export const ANNOUNCE_PREFIX = 'announce:';

/** A run that an announce run reports on, or continues. Some ids include its session key; a nested announce id contains its own. */
export interface AnnouncedRun {
  run_id: string;
  session_key?: string;
}

/** Splits a list at the commas outside nested lists, which open with `announce:requester-settle:` and close with `:yield-<n>`. */
function splitList(list: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let from = 0;
  for (const { 0: token, index } of list.matchAll(/announce:requester-settle:|:yield-\d+|,/g)) {
    if (token.startsWith(ANNOUNCE_PREFIX)) depth++;
    else if (token !== ',') depth--;
    else if (depth === 0) {
      items.push(list.slice(from, index));
      from = index + 1;
    }
  }
  items.push(list.slice(from));
  return items.filter((item) => item !== '');
}

/** What follows a session's key; undefined if the text does not begin with that key. */
const afterKey = (rest: string, session_key: string): string | undefined =>
  rest.startsWith(`${session_key}:`) ? rest.slice(session_key.length + 1) : undefined;

/** The run that a run reports on, or, in that run's own session, continues. */
function parseNamed(rest: string, session_key: string): AnnouncedRun[] {
  const own = afterKey(rest, session_key);
  if (own !== undefined) return [{ session_key, run_id: own.replace(/:wake$/, '') }];
  const [, key, run_id] = /^(.+?):(announce:.+)$/.exec(rest) ?? /^(.+):([^:]+)$/.exec(rest) ?? [];
  return key === undefined || run_id === undefined ? [] : [{ session_key: key, run_id }];
}

/**
 * The runs that an announce run's id names, or undefined if the run is not an announce run. There are two forms:
 *
 * - `announce:requester-settle:<agent id>:<session key>:<run ids, comma separated>`, then `:yield-<n>` if the run that it
 *   continues has yielded, then `:retry-<n>` if it was tried before;
 * - `announce:v1:<child's session key>:<child's run id>`, the only one of protocol 3; in the child's own session, with `:wake`,
 *   once the child's own sub-agents are done.
 */
export function parseAnnounceRunId(run_id: string, session_key: string): AnnouncedRun[] | undefined {
  if (!run_id.startsWith(ANNOUNCE_PREFIX)) return undefined;
  const named = /^announce:v1:(.+)$/.exec(run_id)?.[1];
  if (named !== undefined) return parseNamed(named, session_key);
  const rest = /^announce:requester-settle:[^:]+:(.+?)(?::yield-\d+)?(?::retry-\d+)?$/.exec(run_id)?.[1];
  if (rest === undefined) return [];
  return splitList(afterKey(rest, session_key) ?? rest).map((item) => ({ run_id: item }));
}

/**
 * Run ids of "announce" runs: with these OpenClaw continues a request after its sub-agents are done. The id names the child
 * runs that the run reports on, and ids nest if a child was itself an announce run.
 */

export const ANNOUNCE_PREFIX = 'announce:';

/**
 * A run that an announce run reports on. In protocol 3 the id includes its session key; a nested announce id contains its own.
 */
export interface AnnouncedRun {
  run_id: string;
  session_key?: string;
}

/** Splits a list at the commas outside nested announce ids, which open with `announce:` and close with `:yield-<n>`. */
function splitList(list: string): string[] {
  const items: string[] = [];
  let depth = 0;
  let from = 0;
  for (const { 0: token, index } of list.matchAll(/announce:|:yield-\d+|,/g)) {
    if (token === 'announce:') depth++;
    else if (token !== ',') depth--;
    else if (depth === 0) {
      items.push(list.slice(from, index));
      from = index + 1;
    }
  }
  items.push(list.slice(from));
  return items.filter((item) => item !== '');
}

/**
 * The runs that an announce run's id names, or undefined if the run is not an announce run. Protocol 4:
 * `announce:requester-settle:<agent id>:<session key>:<run ids, comma separated>:yield-<n>`; protocol 3: `announce:v1:<child's
 * session key>:<child's run id>`.
 */
export function parseAnnounceRunId(run_id: string, session_key: string): AnnouncedRun[] | undefined {
  if (!run_id.startsWith(ANNOUNCE_PREFIX)) return undefined;
  const v1 = /^announce:v1:(.+):([^:]+)$/.exec(run_id);
  if (v1?.[1] !== undefined && v1[2] !== undefined) return [{ session_key: v1[1], run_id: v1[2] }];
  const settle = /^announce:requester-settle:([^:]+):(.+):yield-\d+$/.exec(run_id);
  if (settle?.[2] === undefined) return [];
  const rest = settle[2];
  const list = rest.startsWith(`${session_key}:`) ? rest.slice(session_key.length + 1) : rest;
  return splitList(list).map((item) => ({ run_id: item }));
}

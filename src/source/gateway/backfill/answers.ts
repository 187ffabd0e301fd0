/**
 * Asks a gateway for what happened during a gap: its audit log, its sessions, their stored messages, and the latest events of
 * open runs. This takes a few calls per session, and only for sessions in which something happened since.
 */
import { createHash } from 'node:crypto';
import { callsIn } from '../../../model/tool-calls.js';
import { groupBy } from '../../../util/group-by.js';
import { type Json, list, number, object, text } from '../../../util/json.js';
import { within } from '../../../util/within.js';
import { type Answer, BUSY, type Call } from '../connection/calls.js';
import type { Connection } from '../connection/connection.js';

/** The gateway's answers about one session. */
export interface SessionAnswers {
  key: string;
  /** Its row of `sessions.list`. */
  session: Json;
  /** Rows of `sessions.get`, oldest first. */
  rows: Json[];
  /** Events of `audit.activity.list`, oldest first. */
  activity: Json[];
  /** `chat.history`'s `inFlightRun`: the latest events of the open run. */
  in_flight: Json;
  /** A call was not answered, or there was more than is asked for. */
  is_partial: boolean;
}

export interface Asked {
  sessions: SessionAnswers[];
  /** The gateway could not list everything that happened, so sessions may be missing here. */
  is_partial: boolean;
}

/** Clocks differ, and the gateway stores some things a little after it pushed them. */
const MARGIN_MS = 5_000;

const AUDIT_PAGE = 500;
const MAX_AUDIT_PAGES = 20;
const SESSIONS_PAGE = 200;
const MAX_SESSION_PAGES = 10;
const ROWS = 200;
const MAX_ROWS = 5_000;
/** Sessions that are asked about concurrently. */
const CONCURRENCY = 4;

const TRIES = 5;
const BUSY_WAIT_MS = 500;

/**
 * The audit log is written late: by a second or two, and by some more if the gateway has much to do. It is asked again, for 5 s,
 * until it has the ends of the calls whose results were stored just before the question.
 */
const JUST_STORED_MS = 10_000;
const AUDIT_TRIES = 10;
const AUDIT_WAIT_MS = 500;

type Asking = Pick<Connection, 'call' | 'ended'>;

/** Retries while the gateway is busy. Does not wait once the connection has ended. */
const patiently =
  ({ call, ended }: Asking): Call =>
  async (method, params): Promise<Answer> => {
    let answer = await call(method, params);
    for (let tries = 1; !answer.ok && answer.error.code === BUSY && tries < TRIES; tries++) {
      await within(BUSY_WAIT_MS, ended);
      answer = await call(method, params);
    }
    return answer;
  };

const AUDITED_KINDS: ReadonlySet<unknown> = new Set(['agent_run', 'tool_action']);

interface Pages {
  items: Json[];
  is_partial: boolean;
}

/** The audit log is newest first; its entries about inbound and outbound messages are not used. */
async function askActivity(call: Call, params: Json): Promise<Pages> {
  const items: Json[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MAX_AUDIT_PAGES; page++) {
    const answer = await call('audit.activity.list', {
      ...params,
      limit: AUDIT_PAGE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    if (!answer.ok) return { items: items.reverse(), is_partial: true };
    for (const event of list(answer.payload.events).map(object)) {
      if (AUDITED_KINDS.has(event.kind)) items.push(event);
    }
    cursor = text(answer.payload.nextCursor);
    if (cursor === undefined) return { items: items.reverse(), is_partial: false };
  }
  return { items: items.reverse(), is_partial: true };
}

/** The audit log identifies a call by the hash of its id. */
export const auditId = (call_id: string): string =>
  `sha256:${createHash('sha256').update(call_id).digest('hex')}`;

const isTouched = (session: Json, after_ms: number): boolean =>
  session.hasActiveRun === true || (number(session.updatedAt) ?? 0) >= after_ms;

/** Whether the next page may hold sessions that changed. OpenClaw 2026.4 has no pages, and does not say whether there are more. */
const isFollowed = ({ hasMore }: Json, touched: Json[]): boolean =>
  hasMore === undefined ? touched.length >= SESSIONS_PAGE : hasMore === true && touched.length > 0;

/** The list begins with the session that changed last. */
async function askSessions(call: Call, after_ms: number): Promise<Pages & { all: Map<string, Json> }> {
  const items: Json[] = [];
  const all = new Map<string, Json>();
  for (let page = 0; page < MAX_SESSION_PAGES; page++) {
    const offset = page * SESSIONS_PAGE;
    // OpenClaw 2026.4 refuses an offset, even 0.
    const answer = await call('sessions.list', { limit: SESSIONS_PAGE, ...(offset > 0 ? { offset } : {}) });
    if (!answer.ok) return { items, all, is_partial: true };
    const rows = list(answer.payload.sessions).map(object);
    for (const row of rows) all.set(text(row.key) ?? '', row);
    const touched = rows.filter((row) => isTouched(row, after_ms));
    for (const row of touched) items.push(row);
    if (!isFollowed(answer.payload, touched)) return { items, all, is_partial: false };
  }
  return { items, all, is_partial: true };
}

const rowTime = (row: Json): number => number(object(row.__openclaw).recordTimestampMs) ?? 0;

/** The latest messages of a session, back to `after_ms`. */
async function askRows(call: Call, key: string, after_ms: number): Promise<Pages> {
  for (let limit = ROWS; ; limit = Math.min(limit * 5, MAX_ROWS)) {
    const answer = await call('sessions.get', { key, limit });
    if (!answer.ok) return { items: [], is_partial: true };
    const items = list(answer.payload.messages).map(object);
    const isWhole = items.length < limit || (items[0] !== undefined && rowTime(items[0]) < after_ms);
    if (isWhole || limit === MAX_ROWS) return { items, is_partial: !isWhole };
  }
}

async function askInFlight(call: Call, key: string): Promise<{ in_flight: Json; is_partial: boolean }> {
  const answer = await call('chat.history', { sessionKey: key, limit: 1 });
  return answer.ok
    ? { in_flight: object(answer.payload.inFlightRun), is_partial: false }
    : { in_flight: {}, is_partial: true };
}

/**
 * A run of a schedule or a webhook has a session of its own for what is pushed. It is listed, and its messages may be stored, only
 * as the session that all of these runs share.
 */
const RUN_SESSION = /^(agent:[^:]+:cron:[^:]+):run:/;
const SHARED_SESSION = /^agent:[^:]+:cron:[^:]+$/;

const sharedKey = (key: string): string | undefined => RUN_SESSION.exec(key)?.[1];

/** The rows of a session; if it has none, its own among those of the session that it shares with other runs. */
async function askOwnRows(call: Call, key: string, activity: Json[], after_ms: number): Promise<Pages> {
  const rows = await askRows(call, key, after_ms);
  const shared = sharedKey(key);
  if (rows.is_partial || rows.items.length > 0 || shared === undefined) return rows;
  const { items, is_partial } = await askRows(call, shared, after_ms);
  const run_ids = new Set([undefined, ...activity.map(({ runId }) => runId)]);
  const isOwn = ({ __openclaw, details }: Json): boolean =>
    run_ids.has(object(__openclaw).runId ?? object(details).runId);
  return { items: items.filter(isOwn), is_partial };
}

async function askSession(
  call: Call,
  session: Json,
  activity: Json[],
  after_ms: number,
): Promise<SessionAnswers> {
  const key = text(session.key) ?? '';
  const rows = await askOwnRows(call, key, activity, after_ms);
  const { in_flight, is_partial } =
    session.hasActiveRun === true ? await askInFlight(call, key) : { in_flight: {}, is_partial: false };
  return { key, session, rows: rows.items, activity, in_flight, is_partial: rows.is_partial || is_partial };
}

/** The calls that stored messages request. Of a tool that does not exist only the result is stored, and nothing is audited. */
const requestedIn = (rows: Json[]): Set<unknown> =>
  new Set(
    rows
      .filter(({ role }) => role === 'assistant')
      .flatMap(callsIn)
      .map(({ id }) => id),
  );

/** Whether the audit log lacks the end of a call whose result was stored since then. */
function isAuditBehind({ rows, activity }: SessionAnswers, stored_since_ms: number): boolean {
  const results = rows.filter((row) => row.role === 'toolResult' && rowTime(row) >= stored_since_ms);
  if (results.length === 0) return false;
  const ends = activity.filter(({ action }) => action === 'tool.action.finished');
  const ended = new Set(ends.map(({ toolCallId }) => toolCallId));
  const requested = requestedIn(rows);
  return results.some(
    ({ toolCallId }) => requested.has(toolCallId) && !ended.has(auditId(String(toolCallId))),
  );
}

/** Runs `act` on each item, a few at a time; the results are in the order of the items. */
async function mapSome<T, R>(items: T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of waiting) results[index] = await act(item);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return results;
}

/**
 * OpenClaw's internal sessions, such as those that review a finished run for lessons: only the audit log has them, nothing is
 * pushed.
 */
const INTERNAL_SESSION = /^agent:[^:]+:internal-session-effects:/;

export interface Question {
  /** Epoch milliseconds by the gateway's clock. */
  since_ms: number;
  /** Sessions to ask about even if nothing seems to have happened in them. */
  also?: Iterable<string>;
  /** The only sessions to ask about; all if it is absent. */
  only?: ReadonlySet<string>;
  /** The present, if the audit log may be waited for. Epoch milliseconds by the gateway's clock. */
  now_ms?: number;
}

const ofSessions = ({ items }: Pages): Map<string, Json[]> =>
  groupBy(items, ({ sessionKey }) => text(sessionKey) ?? '');

/** Asks for the audit log again until it is up to date. One that is empty may not be written at all. */
async function untilAudited(
  { ended }: Asking,
  askAgain: () => Promise<Pages>,
  sessions: SessionAnswers[],
  now_ms: number,
): Promise<SessionAnswers[]> {
  const isBehind = (session: SessionAnswers): boolean => isAuditBehind(session, now_ms - JUST_STORED_MS);
  let audited = sessions;
  for (let tries = 0; audited.some(isBehind) && tries < AUDIT_TRIES; tries++) {
    await within(AUDIT_WAIT_MS, ended);
    const again = await askAgain();
    if (again.is_partial) continue;
    const ofSession = ofSessions(again);
    audited = audited.map((session) => ({
      ...session,
      activity: ofSession.get(session.key) ?? session.activity,
    }));
  }
  return audited;
}

/** Asks what happened since `since_ms`. The answers may reach further back, and repeat what was seen already. */
export async function askForMissed(asking: Asking, question: Question): Promise<Asked> {
  const { since_ms, also, only, now_ms } = question;
  const call = patiently(asking);
  const after_ms = since_ms - MARGIN_MS;
  const askAudit = (): Promise<Pages> => askActivity(call, { after: after_ms });
  const [activity, listed] = await Promise.all([askAudit(), askSessions(call, after_ms)]);
  const ofSession = ofSessions(activity);
  const sessions = new Map(listed.items.map((session) => [text(session.key) ?? '', session]));
  for (const key of sessions.keys()) if (SHARED_SESSION.test(key)) sessions.delete(key);
  for (const key of [...ofSession.keys(), ...(also ?? [])]) {
    const { sessionId: _, ...shared } = listed.all.get(sharedKey(key) ?? '') ?? {};
    sessions.set(key, { ...shared, ...listed.all.get(key), key });
  }
  const isWanted = (key: string): boolean =>
    key !== '' && !INTERNAL_SESSION.test(key) && (only === undefined || only.has(key));
  const wanted = [...sessions].filter(([key]) => isWanted(key));
  const answers = await mapSome(wanted, ([key, session]) =>
    askSession(call, session, ofSession.get(key) ?? [], after_ms),
  );
  const mayWait = now_ms !== undefined && activity.items.length > 0;
  return {
    sessions: mayWait ? await untilAudited(asking, askAudit, answers, now_ms) : answers,
    is_partial: activity.is_partial || listed.is_partial,
  };
}

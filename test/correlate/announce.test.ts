/** Announce runs, which continue a request: whatever comes first, they link to each run that they report on. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { createCorrelator } from '../../src/correlate/index.js';
import { parseAnnounceRunId } from '../../src/model/announce.js';
import type { AgentEvent } from '../../src/model/event.js';
import { correlate, decodeFile, fixture, merge, NOW_MS } from '../helpers.js';

const SESSION = 'agent:main:s';
const ANNOUNCE = { session_key: SESSION, run_id: `announce:requester-settle:main:${SESSION}:a,b:yield-1` };

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const at = (ms: number, type: string, fields: any): AgentEvent =>
  ({ type, ts: NOW_MS + ms, ...fields }) as AgentEvent;

/** A sub-agent's run that names only its parent session. */
const child = (run_id: string, ms: number): AgentEvent[] => {
  const own = { session_key: `agent:main:subagent:${run_id}`, run_id };
  return [
    at(ms, 'agent.started', { ...own, parent_session_key: SESSION }),
    at(ms + 50, 'agent.finished', { ...own, status: 'ok' }),
  ];
};

test('a run that reports on two runs links to both, even if one of them waits for its spawn', () => {
  const parent = { session_key: SESSION, run_id: 'p' };
  const events = [
    at(0, 'agent.started', parent),
    ...child('a', 10),
    at(70, 'agent.finished', { ...parent, status: 'ok', yielded: true }),
    ...child('b', 1_200),
    at(1_300, 'agent.started', ANNOUNCE),
    at(1_400, 'agent.finished', { ...ANNOUNCE, status: 'ok' }),
  ];
  const correlator = createCorrelator();
  const emissions = events.map((event) =>
    merge([correlator.expire(event.ts), correlator.apply(event, event.ts)]),
  );
  const { spans } = merge([...emissions, correlator.expire(NOW_MS + 60_000)]);
  const idOf = (run_id: string) =>
    spans.find(({ attributes }) => attributes['openclaw.run.id'] === run_id)?.span_id;
  const announce = spans.find(({ attributes }) => attributes['openclaw.run.id'] === ANNOUNCE.run_id);
  expect(announce?.links.map(({ span_id }) => span_id)).toEqual([idOf('a'), idOf('b')]);
  expect(announce?.parent_span_id).toBe(idOf('p'));
});

test('runs that report on sub-agents of a run that did not yield are its children, in whatever order the sub-agents come', () => {
  const parent = { session_key: SESSION, run_id: 'p' };
  const spawn = (run_id: string) =>
    at(5, 'subagent.spawned', {
      session_key: `agent:main:subagent:${run_id}`,
      parent_session_key: SESSION,
      parent_run_id: 'p',
    });
  const report = (run_id: string, ms: number) => {
    const own = { session_key: SESSION, run_id: `announce:v1:agent:main:subagent:${run_id}:x` };
    return [at(ms, 'agent.started', own), at(ms + 5, 'agent.finished', { ...own, status: 'ok' })];
  };
  const request = [
    at(0, 'agent.started', parent),
    spawn('a'),
    spawn('b'),
    at(7, 'agent.finished', { ...parent, status: 'ok' }),
    ...report('a', 100),
    ...report('b', 200),
  ];
  const parentsIn = (events: AgentEvent[]) => {
    const { spans } = correlate(events);
    const of = spans.filter(({ attributes }) =>
      String(attributes['openclaw.run.id']).startsWith('announce:'),
    );
    expect(of).toHaveLength(2);
    return new Set(of.map(({ parent_span_id }) => spans.find(({ span_id }) => span_id === parent_span_id)));
  };
  for (const children of [
    [...child('a', 10), ...child('b', 20)],
    [...child('b', 20), ...child('a', 10)],
  ])
    expect([...parentsIn([...request, ...children])]).toMatchObject([
      { attributes: { 'openclaw.run.id': 'p' } },
    ]);
});

test('a run whose id names only the session that it reports on links to the latest run before it', () => {
  const own = { session_key: SESSION, run_id: 'announce:v1:agent:main:subagent:a:x' };
  const session_key = 'agent:main:subagent:a';
  const later = { session_key, run_id: 'later' };
  const { spans } = correlate([
    at(0, 'agent.started', { session_key: SESSION, run_id: 'p' }),
    ...child('a', 10),
    at(500, 'agent.started', { ...later, parent_session_key: SESSION }),
    at(510, 'agent.finished', { ...later, status: 'ok' }),
    at(100, 'agent.started', own),
    at(110, 'agent.finished', { ...own, status: 'ok' }),
  ]);
  const spanOf = (id: string) => spans.find(({ attributes }) => attributes['openclaw.run.id'] === id);
  expect(spanOf(own.run_id)?.links.map(({ span_id }) => span_id)).toEqual([spanOf('a')?.span_id]);
});

const CHILD = 'agent:main:subagent:c';
const OTHER = 'agent:main:subagent:o';
const BELOW = 'agent:main:subagent:b';

/** A run that may spawn a sub-agent, and yields if it does. */
const turn = (ms: number, session_key: string, run_id: string, spawned?: string): AgentEvent[] => [
  at(ms, 'agent.started', { session_key, run_id }),
  ...(spawned === undefined
    ? []
    : [
        at(ms + 1, 'subagent.spawned', {
          session_key: spawned,
          parent_session_key: session_key,
          parent_run_id: run_id,
        }),
      ]),
  at(ms + 2, 'agent.finished', { session_key, run_id, status: 'ok', yielded: spawned !== undefined }),
];

const FILES = [
  [
    ...turn(0, SESSION, 'asked', CHILD),
    ...turn(60, SESSION, `announce:v1:${CHILD}:1`, OTHER),
    ...turn(80, SESSION, `announce:v1:${OTHER}:2`),
  ],
  [...turn(10, CHILD, 'c', BELOW), ...turn(40, CHILD, `announce:v1:${BELOW}:3`)],
  [...turn(20, BELOW, 'b')],
  [...turn(70, OTHER, 'o')],
];

test.each(FILES.map((_, first) => first))(
  'the tree and the links of nested sub-agents do not depend on the order in which transcripts are read, from file %d on',
  (first) => {
    const files = [...FILES.slice(first), ...FILES.slice(0, first)];
    for (const events of [files.flat(), files.toReversed().flat()]) {
      const { spans } = correlate(events);
      const nameOf = (span_id?: string) =>
        spans.find((span) => span.span_id === span_id)?.attributes['openclaw.run.id'];
      const tree = spans.map(({ span_id, parent_span_id, links }) => [
        nameOf(span_id),
        nameOf(parent_span_id),
        ...links.map((link) => nameOf(link.span_id)),
      ]);
      expect(tree.toSorted((a, b) => `${a[0]}`.localeCompare(`${b[0]}`))).toEqual([
        [`announce:v1:${BELOW}:3`, 'c', 'b'],
        [`announce:v1:${CHILD}:1`, 'asked', `announce:v1:${BELOW}:3`],
        [`announce:v1:${OTHER}:2`, `announce:v1:${CHILD}:1`, 'o'],
        ['asked', undefined],
        ['b', 'c'],
        ['c', 'asked'],
        ['o', `announce:v1:${CHILD}:1`],
      ]);
    }
  },
);

const WOKEN = `announce:v1:${CHILD}:a:wake`;

test.each([
  [`announce:requester-settle:main:${SESSION}:a,b:yield-1`, [{ run_id: 'a' }, { run_id: 'b' }]],
  [`announce:requester-settle:main:${SESSION}:a,b`, [{ run_id: 'a' }, { run_id: 'b' }]],
  [`announce:requester-settle:main:${SESSION}:a,b:retry-1`, [{ run_id: 'a' }, { run_id: 'b' }]],
  [`announce:requester-settle:main:${SESSION}:a:yield-2:retry-10`, [{ run_id: 'a' }]],
  [`announce:requester-settle:main:${SESSION}:${WOKEN},b`, [{ run_id: WOKEN }, { run_id: 'b' }]],
  [
    `announce:requester-settle:main:${SESSION}:announce:requester-settle:main:${CHILD}:a,b:yield-1,c:yield-1`,
    [{ run_id: `announce:requester-settle:main:${CHILD}:a,b:yield-1` }, { run_id: 'c' }],
  ],
  [`announce:v1:${CHILD}:a`, [{ session_key: CHILD, run_id: 'a' }]],
  [`announce:v1:${CHILD}:${WOKEN}`, [{ session_key: CHILD, run_id: WOKEN }]],
  [`announce:v1:${SESSION}:a:wake`, [{ session_key: SESSION, run_id: 'a' }]],
  [
    `announce:v1:${SESSION}:announce:v1:${SESSION}:a:wake:wake`,
    [{ session_key: SESSION, run_id: `announce:v1:${SESSION}:a:wake` }],
  ],
  [`announce:v1:${CHILD}:announce:v1:${OTHER}:a`, [{ session_key: CHILD, run_id: `announce:v1:${OTHER}:a` }]],
  ['announce:v1:odd', []],
  ['a', undefined],
])('the id %s names %j', (run_id, named) => {
  expect(parseAnnounceRunId(run_id, SESSION)).toEqual(named);
});

/** A request, its sub-agent that yields to one of its own, and the announce run in which that sub-agent continues. */
function nested(): AgentEvent[] {
  const root = { session_key: SESSION, run_id: 'p' };
  const outer = { session_key: 'agent:main:subagent:o', run_id: 'o' };
  const inner = { session_key: 'agent:main:subagent:i', run_id: 'i' };
  const announce = { ...outer, run_id: `announce:requester-settle:main:${outer.session_key}:i:yield-1` };
  return [
    at(0, 'agent.started', root),
    at(10, 'agent.started', { ...outer, parent_session_key: SESSION }),
    at(20, 'agent.started', { ...inner, parent_session_key: outer.session_key }),
    at(30, 'agent.finished', { ...outer, status: 'ok', yielded: true }),
    at(40, 'agent.finished', { ...inner, status: 'ok' }),
    at(50, 'agent.started', announce),
    at(60, 'agent.finished', { ...announce, status: 'ok' }),
    at(70, 'agent.finished', { ...root, status: 'ok' }),
  ];
}

/** The runs, each with its parent and its links. */
const runsOf = (events: AgentEvent[]) =>
  correlate(events)
    .spans.filter(({ kind }) => kind === 'run')
    .map(({ span_id, parent_span_id, links }) => [span_id, parent_span_id, links])
    .sort();

describe.each([
  ['a story', nested()],
  ['a recording', decodeFile(fixture('gateway/spawn.ndjson'))],
])('parents and links of %s', (_, events) => {
  test.prop([fc.shuffledSubarray(events, { minLength: events.length })], { numRuns: 100 })(
    'are the same in any order',
    (mixed) => {
      expect(runsOf(mixed)).toEqual(runsOf(events));
    },
  );
});

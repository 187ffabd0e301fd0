import { mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createSessionsLookup } from '../../src/start/sessions.js';
import { temporaryDirectory } from '../source/helpers.js';

/** Writes `sessions.json` as OpenClaw does: completely, and then under its name. */
function writeSessions(directory: string, rows: Record<string, string>, more = {}): void {
  const sessions = Object.entries(rows).map(([key, sessionId]) => [key, { sessionId, ...more }]);
  writeFileSync(join(directory, 'sessions.json.tmp'), JSON.stringify(Object.fromEntries(sessions)));
  renameSync(join(directory, 'sessions.json.tmp'), join(directory, 'sessions.json'));
}

test('a session that is added later is found, and known ones stay known', () => {
  const directory = temporaryDirectory();
  const index = createSessionsLookup()(join(directory, 'a.jsonl'));
  expect(index?.get('1')).toBeUndefined();
  writeSessions(directory, { 'agent:main:a': '1' });
  expect(index?.get('1')).toEqual({ session_key: 'agent:main:a' });
  expect(index?.get('2')).toBeUndefined();
  writeSessions(directory, { 'agent:main:a': '1', 'agent:main:b': '2' });
  expect(index?.get('2')).toEqual({ session_key: 'agent:main:b' });
  writeFileSync(join(directory, 'sessions.json'), '{"half');
  expect(index?.get('3')).toBeUndefined();
  expect(index?.get('2')).toEqual({ session_key: 'agent:main:b' });
});

test('a file that cannot be read is reported once, and read as soon as it can be', () => {
  const directory = temporaryDirectory();
  const path = join(directory, 'sessions.json');
  const messages: string[] = [];
  const index = createSessionsLookup((message) => messages.push(message))(join(directory, 'a.jsonl'));
  const beginningsOf = (reasons: string[]) => reasons.map((reason) => `can't read ${path}: ${reason}; until`);
  mkdirSync(path);
  for (let times = 0; times < 2; times++) expect(index?.get('1')).toBeUndefined();
  rmdirSync(path);
  for (const text of ['{"half', '{"half of it']) {
    writeFileSync(path, text);
    expect(index?.get('1')).toBeUndefined();
  }
  writeSessions(directory, { 'agent:main:a': '1' });
  expect(index?.get('1')).toEqual({ session_key: 'agent:main:a' });
  writeFileSync(path, '{"half');
  expect(index?.get('2')).toBeUndefined();
  const [directly, half] = ['it is a directory', 'it is not valid JSON'] as const;
  expect(messages.map((message) => message.slice(0, message.indexOf(' until') + 6))).toEqual(
    beginningsOf([directly, half, half]),
  );
});

test('what is added to the row of a known session is found', () => {
  const directory = temporaryDirectory();
  const index = createSessionsLookup()(join(directory, 'a.jsonl'));
  writeSessions(directory, { 'agent:main:a': '1' });
  expect(index?.get('1')).toEqual({ session_key: 'agent:main:a' });
  writeSessions(directory, { 'agent:main:a': '1' }, { spawnedBy: 'agent:main:p', label: 'Helper' });
  expect(index?.get('1')).toMatchObject({ parent_session_key: 'agent:main:p', label: 'Helper' });
});

test('a session that has another id since it was reset is found by the name of its file', () => {
  const directory = temporaryDirectory();
  const sessionsOf = createSessionsLookup();
  writeSessions(directory, { 'agent:main:a': '2' }, { sessionFile: '/other/machine/1.jsonl' });
  for (const name of ['1.jsonl', '1.jsonl.reset.2026-11-22T11-15-37.587Z'])
    expect(sessionsOf(join(directory, name))?.get('1')).toMatchObject({ session_key: 'agent:main:a' });
  expect(sessionsOf(join(directory, '3.jsonl'))?.get('1')).toBeUndefined();
});

test('the agent is named by the directory of its sessions', () => {
  const agentOf = (path: string) => createSessionsLookup()(path)?.agent_id;
  expect(agentOf('/x/agents/helper/sessions/a.jsonl.reset.2026-11-22T11-15-37.587Z')).toBe('helper');
  expect(agentOf('/x/helper/sessions/a.jsonl')).toBeUndefined();
  expect(agentOf('/x/agents/helper/a.jsonl')).toBeUndefined();
});

test('transcript streams are recognised by their names', () => {
  const directory = temporaryDirectory();
  writeSessions(directory, { 'agent:main:a': '1' });
  const sessionsOf = createSessionsLookup();
  const path = join(directory, 'a.jsonl');
  for (const stream of [path, `file:${path}`, `${path}#2`, `${path}.reset.2026-11-22T11-15-37.587Z`])
    expect(sessionsOf(stream)?.get('1')).toBeDefined();
  expect(sessionsOf('stdin')).toBeUndefined();
  expect(sessionsOf(join(directory, 'events.ndjson'))).toBeUndefined();
});

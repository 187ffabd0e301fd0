/**
 * Recordings of one request each in real backends, side by side: what a backend shows is what the recording says, nothing
 * is refused or counted twice, and sending it again changes nothing. The results are the tables of docs/backends.md.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Summary } from '../../src/summary.js';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { lawBreakers, startBridge } from './bridge.js';
import { isSkipped, REPOSITORY } from './installed.js';
import {
  type Expected,
  expectedOf,
  QUANTITIES,
  type Quantity,
  type Shown,
  sizeOf,
  type Value,
} from './side-by-side/quantities.js';
import { drawTable, type Measured } from './side-by-side/table.js';
import { type Running, type Sent, WAYS } from './side-by-side/ways.js';

const RECORDINGS = ['sub-agents', 'tools'];
const DOCUMENT = join(REPOSITORY, 'docs/backends.md');

/**
 * Writes a copy of a recording that ends now: backends show recent data, and the second sending must have the same times.
 */
async function moveToNow(path: string, to: string): Promise<void> {
  const recording = await readFile(path, 'utf8');
  const times = recording.match(/\b17\d{11}\b/g) ?? [];
  const shift_ms = Date.now() - Math.max(...times.map(Number));
  await writeFile(
    to,
    recording.replace(/\b17\d{11}\b/g, (ms) => String(Number(ms) + shift_ms)),
  );
}

const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** The number of items that the bridge knows were not delivered. */
const lost = ({ destinations }: Summary): number =>
  Object.values(destinations)
    .flatMap((signals) => Object.values(signals))
    .reduce((total, { pending, rejected, dropped }) => total + pending + sum(rejected) + sum(dropped), 0);

/** If the backend shows only a number, the length of the expected list is compared. */
const like = (value: Value | undefined, expected: Value | undefined): Value | undefined =>
  typeof value === 'number' ? sizeOf(expected) : expected;

const INSTALLED = WAYS.filter(({ needs }) => !needs.some(isSkipped));

/** The contents of the tables, by recording. */
const seen = new Map<string, { expected: Expected; measured: Measured[] }>();

describe.each(RECORDINGS)('%s', (name) => {
  const recording = join(REPOSITORY, `examples/${name}.ndjson`);
  const expected = expectedOf(recording);
  const measured: Measured[] = [];
  seen.set(name, { expected, measured });

  describe.each(INSTALLED.map((way) => [way.name, way] as const))('in %s', (_, way) => {
    let directory: string;
    let running: Running;
    const sent: Sent = { times: 0, spans: 0, logs: 0, tool_logs: 0 };
    let once: Shown[];
    let twice: Shown[];

    async function send(): Promise<Shown[]> {
      const config = join(directory, 'config.json');
      const bridge = await startBridge(['replay', '--config', config, join(directory, 'recording.ndjson')]);
      const { status, summary } = await bridge.ended;
      expect(status).toBe(0);
      expect(lawBreakers(summary)).toEqual([]);
      const { traces, logs } = Object.values(summary.destinations)[0] ?? {};
      sent.times += 1;
      sent.spans += traces?.delivered ?? 0;
      sent.logs += logs?.delivered ?? 0;
      sent.tool_logs += Number(expected.tool_logs);
      const refused = { 'the bridge': lost(summary) };
      const shown = await running.show(expected.trace_id, sent);
      return shown.map((each) => ({ ...each, refused: { ...each.refused, ...refused } }));
    }

    beforeAll(async () => {
      directory = await temporaryDirectory();
      running = await way.start();
      await writeFile(join(directory, 'config.json'), JSON.stringify({ to: [running.destination] }));
      await moveToNow(recording, join(directory, 'recording.ndjson'));
      once = await send();
      if (way.in_table)
        measured.push(...way.columns.map((column, index) => ({ ...column, shown: once[index] ?? {} })));
      twice = await send();
    });
    afterAll(async () => {
      await running?.stop();
      await removeDirectory(directory);
    });

    describe.each(way.columns.map(({ title, without }, index) => [title, without, index] as const))(
      '%s',
      (_title, without, index) => {
        test.each(Object.keys(QUANTITIES) as Quantity[])('%s', (quantity) => {
          const places = once[index]?.[quantity] ?? {};
          expect(Object.keys(places).length === 0).toBe(quantity in without);
          const wanted = Object.entries(places).map(([place, value]) => [
            place,
            like(value, expected[quantity]),
          ]);
          expect(places).toEqual(Object.fromEntries(wanted));
        });

        test('is the same after it was sent again', () => {
          expect(twice[index]).toEqual(once[index]);
        });
      },
    );
  });
});

test.skipIf(INSTALLED.length < WAYS.length)('docs/backends.md has the results', async () => {
  let document = await readFile(DOCUMENT, 'utf8');
  for (const [name, { expected, measured }] of seen) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
    const [[before], [, after]] = [document.split(begin), document.split(end)];
    document = [before, begin, '\n\n', drawTable(expected, measured), '\n\n', end, after].join('');
  }
  await expect(document).toMatchFileSnapshot(DOCUMENT);
});

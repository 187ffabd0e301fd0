/** The dashboard files match their source; `-u` writes them anew. */
import { fileURLToPath } from 'node:url';
import type { Dashboard } from '@grafana/schema';
import { expect, test } from 'vitest';
import { agents } from '../../deploy/grafana/source/agents.js';
import { bridge } from '../../deploy/grafana/source/bridge.js';

const pathOf = (name: string): string =>
  fileURLToPath(new URL(`../../deploy/grafana/dashboards/${name}.json`, import.meta.url));

const DASHBOARDS: [string, Dashboard][] = [
  ['agents', agents],
  ['bridge', bridge],
];

test.each(DASHBOARDS)('%s.json is up to date', async (name, dashboard) => {
  await expect(`${JSON.stringify(dashboard, undefined, 2)}\n`).toMatchFileSnapshot(pathOf(name));
});

test.each(DASHBOARDS)('%s: no two panels share an id or a place', (_, { panels = [] }) => {
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } = { x: 0, y: 0, w: 0, h: 0 } }) =>
    Array.from({ length: w * h }, (_each, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
});

/** Checks that the generated documentation matches the code. */
import { expect, test } from 'vitest';
import { EVENT_TYPES } from '../../src/model/event.js';
import { profilesPage } from './profiles.js';
import { DOCUMENTED } from './stories.js';

test('docs/profiles.md is up to date', async () => {
  await expect(await profilesPage()).toMatchFileSnapshot('../../docs/profiles.md');
});

test('every event type is documented', () => {
  expect(new Set(DOCUMENTED.map(({ event }) => event.type))).toEqual(new Set(EVENT_TYPES));
});

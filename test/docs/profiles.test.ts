/** The documentation that is written by code says what the code does. */
import { expect, test } from 'vitest';
import { EVENT_TYPES } from '../../src/model/event.js';
import { profilesPage } from './profiles.js';
import { DOCUMENTED } from './stories.js';

test('docs/profiles.md is what the profiles are', async () => {
  await expect(await profilesPage()).toMatchFileSnapshot('../../docs/profiles.md');
});

test('every type of event is in it', () => {
  expect(new Set(DOCUMENTED.map(({ event }) => event.type))).toEqual(new Set(EVENT_TYPES));
});

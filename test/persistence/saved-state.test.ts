/** What a start finds in the store, and how it is given up. */
import { expect, test } from 'vitest';
import { forget, openSavedState } from '../../src/persistence/saved-state.js';
import { createMemoryStore } from '../store/memory.js';

const POSITIONS = { 'recordings:a': { a: 7 } };

async function openLeft() {
  const store = createMemoryStore();
  const value = Buffer.from(JSON.stringify(POSITIONS));
  await store.write([
    { key: 'replay/positions', value },
    { key: 'outbox/1', value },
  ]);
  return { store, kept: openSavedState(store, 'replay') };
}

test('what a replay left is given up, but not what is pending', async () => {
  const { store, kept } = await openLeft();
  expect(await forget(kept)).toMatchObject({ positions: {} });
  expect([...store.keys('')]).toEqual(['outbox/1']);
});

test('what can not be removed is not taken for given up', async () => {
  const { store, kept } = await openLeft();
  const write = async () => ({ ok: false, message: 'no space' }) as const;
  expect(await forget({ ...kept, store: { ...store, write } })).toEqual({ problem: 'no space' });
  expect(openSavedState(store, 'replay').positions).toEqual(POSITIONS);
});

/** The bridge's identity as a device, and what its stores keep beside each other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDeviceStore } from '../../src/store/device.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'device-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('the tokens of two gateways are kept, though each has its own store open', () => {
  const [one, other] = [openDeviceStore(directory), openDeviceStore(directory)];
  expect(one.device()).toMatchObject({ id: (other.device() as { id: string }).id });
  one.saveToken('wss://one', 'first');
  other.saveToken('wss://other', 'second');
  one.saveToken('wss://one', 'third');
  const next = openDeviceStore(directory);
  expect(['wss://one', 'wss://other'].map((gateway) => next.tokenOf(gateway))).toEqual(['third', 'second']);
});

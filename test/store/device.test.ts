/** The bridge's device identity, and the gateway tokens that several stores save in one directory. */
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

test('tokens of two gateways are saved although each gateway has its own open store', () => {
  const [one, other] = [openDeviceStore(directory), openDeviceStore(directory)];
  expect(one.device()).toMatchObject({ id: (other.device() as { id: string }).id });
  one.saveToken('wss://one', 'first');
  other.saveToken('wss://other', 'second');
  one.saveToken('wss://one', 'third');
  const next = openDeviceStore(directory);
  expect(['wss://one', 'wss://other'].map((gateway) => next.tokenOf(gateway))).toEqual(['third', 'second']);
});

import { expect, test } from 'vitest';
import { createSlabs } from '../../src/store/slabs.js';

const KB = 1_024;
const OPTIONS = { slab_bytes: 256 * KB, max_free_bytes: 1_000 * KB };

test('memory belongs to one lease until the lease ends', () => {
  const slabs = createSlabs(OPTIONS);
  const leases = Array.from({ length: 40 }, () => slabs.lease());
  const taken = leases.map((lease, index) =>
    [1, 100, 20 * KB, 60 * KB].map((size) => lease.take(size).fill(index)),
  );
  taken.forEach((buffers, index) => {
    for (const buffer of buffers) expect(buffer.every((byte) => byte === index)).toBe(true);
  });
});

test('memory is reused when all leases in it have ended', () => {
  const slabs = createSlabs(OPTIONS);
  const first = slabs.lease();
  const second = slabs.lease();
  const { buffer } = first.take(100);
  expect(second.take(100).buffer).toBe(buffer);
  first.end();
  const third = slabs.lease();
  const beside = third.take(100);
  expect(beside.buffer).toBe(buffer);
  expect(beside.byteOffset).toBe(200);
  second.end();
  third.end();
  expect(slabs.lease().take(100).byteOffset).toBe(0);
});

test('a large buffer gets memory of its own', () => {
  const lease = createSlabs(OPTIONS).lease();
  const small = lease.take(10);
  const large = lease.take(1_000 * KB);
  expect(large).toHaveLength(1_000 * KB);
  expect(large.buffer).not.toBe(small.buffer);
  lease.end();
});

/**
 * Reusable memory in which records are assembled on their way to the disk. Memory new to the process costs more than writing to
 * it, and buffers that live until a commit are expensive to collect as garbage.
 */

interface Slab {
  bytes: Buffer;
  used_bytes: number;
  leases: number;
}

/** The memory of one commit. */
export interface Lease {
  take(bytes: number): Buffer;
  /** Releases the memory: nothing reads it any more. */
  end(): void;
}

export interface Slabs {
  lease(): Lease;
}

export interface SlabOptions {
  /** An allocation over half of this gets memory of its own. */
  slab_bytes: number;
  /** The maximum total size of free slabs. */
  max_free_bytes: number;
}

export function createSlabs({ slab_bytes, max_free_bytes }: SlabOptions): Slabs {
  const free: Slab[] = [];
  let current: Slab | undefined;

  function slabFor(bytes: number): Slab {
    if (current !== undefined && current.used_bytes + bytes <= slab_bytes) return current;
    const next = free.pop() ?? { bytes: Buffer.allocUnsafeSlow(slab_bytes), used_bytes: 0, leases: 0 };
    current = next;
    return next;
  }

  function giveBack(slab: Slab): void {
    slab.leases -= 1;
    if (slab.leases > 0) return;
    slab.used_bytes = 0;
    if (slab !== current && free.length * slab_bytes < max_free_bytes) free.push(slab);
  }

  return {
    lease() {
      const leased: Slab[] = [];
      return {
        take(bytes) {
          if (bytes > slab_bytes / 2) return Buffer.allocUnsafeSlow(bytes);
          const slab = slabFor(bytes);
          if (leased.at(-1) !== slab) {
            slab.leases += 1;
            leased.push(slab);
          }
          const from = slab.used_bytes;
          slab.used_bytes += bytes;
          return slab.bytes.subarray(from, slab.used_bytes);
        },
        end() {
          for (const slab of leased.splice(0)) giveBack(slab);
        },
      };
    },
  };
}

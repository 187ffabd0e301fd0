/**
 * Memory in which records are put together on their way to the disk, for one after another: memory that is new to the process
 * costs more than what is written into it, and what lives until a commit is done is dear garbage.
 */

interface Slab {
  bytes: Buffer;
  used_bytes: number;
  leases: number;
}

/** What one commit needs. */
export interface Lease {
  take(bytes: number): Buffer;
  /** Nobody looks at what was taken any more. */
  end(): void;
}

export interface Slabs {
  lease(): Lease;
}

export interface SlabOptions {
  /** What takes more than half of a slab has memory of its own. */
  slab_bytes: number;
  /** Of slabs that are free no more is kept. */
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

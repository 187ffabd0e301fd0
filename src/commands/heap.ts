/**
 * Keeps the program's heap small. Nearly all of its objects are garbage within some tens of milliseconds, so it gains nothing
 * from V8's optimisations for long-lived ones. The flags apply to the whole process, so a library must not set them.
 */
import { setFlagsFromString } from 'node:v8';

const FLAGS = [
  // Objects that survive a busy moment would make V8 allocate all objects of their kind as long-lived, and for good.
  '--no-allocation-site-pretenuring',
  // How far the heap may grow beyond the live objects before the old generation is collected; V8's default allows up to three
  // times as much as those take up.
  '--heap-growing-percent=60',
];

export function keepHeapSmall(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}

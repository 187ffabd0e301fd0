/**
 * How the program keeps its heap small. Nearly all that it makes is garbage within some tens of milliseconds, and it gains
 * nothing from what V8 does for programs whose objects live long. For the process as a whole, so that a library may not do it.
 */
import { setFlagsFromString } from 'node:v8';

const FLAGS = [
  // What waits in a busy moment would make V8 put all of its kind among what lives long, and for good.
  '--no-allocation-site-pretenuring',
  // How much comes beside what lives long before that is looked through: V8 would let it be up to three times as much again.
  '--heap-growing-percent=60',
];

export function keepHeapSmall(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}

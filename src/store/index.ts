/** The store's public face. */
export { openDeviceStore } from './device.js';
export { createMemoryStore } from './memory.js';
export { type Opened, type OpenOptions, openStore } from './open.js';
export { isAlive } from './owner.js';
export type { Store, Written } from './store.js';

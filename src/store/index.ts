/** The store's public face. */
export { openDeviceStore } from './device.js';
export { createMemoryStore } from './memory.js';
export { hasLiveOwner, type Opened, type OpenOptions, openStore } from './open.js';
export type { Store, Written } from './store.js';

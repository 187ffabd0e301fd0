/** The store's public API: the rest of the program imports from here only. */
export { checkStore, describeDamage, FORMAT_VERSION } from './check.js';
export { openDeviceStore } from './device.js';
export { defaultDataDirectory } from './directory.js';
export { hasLiveOwner, openStore } from './open.js';
export { type Changes, type Store, type StoreChange, valueBytes, type Written } from './store.js';

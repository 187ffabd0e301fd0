/** The version of this package, and of the Node.js that it needs, from its own `package.json`. */
import { createRequire } from 'node:module';

const { version, engines } = createRequire(import.meta.url)('../package.json');

export const VERSION: string = version;
/** The oldest supported version of Node.js, such as `20.19`. */
export const NODE_MIN: string = engines.node.replace('>=', '');

/**
 * Checks the version of Node.js and the configuration file.
 */
import { NODE_MIN } from '../../version.js';
import { type Check, ok, problem } from './check.js';

/** Compares major and minor only: `20.19.1` is not older than `20.19`. */
function isOlder(version: string, min: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [min_major = 0, min_minor = 0] = min.split('.').map(Number);
  return major < min_major || (major === min_major && minor < min_minor);
}

export function checkNode(version: string = process.versions.node): Check {
  return isOlder(version, NODE_MIN)
    ? problem('node', `Node.js ${version}`, `install Node.js ${NODE_MIN} or newer`)
    : ok('node', `Node.js ${version}`);
}

export function checkConfiguration(problems: string[], path: string | undefined): Check[] {
  if (path === undefined)
    return [ok('configuration', 'no file given; using options, environment and defaults')];
  if (problems.length === 0) return [ok('configuration', `${path} is valid`)];
  const advice = 'correct it; commands do not start until then, and the checks below ignore it';
  return problems.map((found) => problem('configuration', found, advice));
}

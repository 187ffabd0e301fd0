/**
 * A cache of values by attribute set: there are few sets, and each is measured again and again. A set is looked up by its names
 * and values, in their order, so that no key has to be built.
 */
import type { Attributes } from '../model/telemetry.js';

/** The limits of the cache, on sets and on the characters in one; values for others are made each time. */
const MAX_SETS = 4_000;
const MAX_LENGTH = 1_024;

/** The sets that begin with the same names and values. */
interface Node<T> {
  next?: Map<unknown, Node<T>>;
  made?: T;
}

function nextOf<T>(node: Node<T>, part: unknown): Node<T> {
  node.next ??= new Map();
  let next = node.next.get(part);
  if (next === undefined) {
    next = {};
    node.next.set(part, next);
  }
  return next;
}

function canBeRemembered(attributes: Attributes): boolean {
  let length = 0;
  for (const name in attributes) {
    const value = attributes[name];
    // Two arrays are never the same key, whatever they contain.
    if (typeof value === 'object') return false;
    if (value !== undefined) length += name.length + (typeof value === 'string' ? value.length : 0);
  }
  return length <= MAX_LENGTH;
}

/** Returns what `make` returned for the same attributes before, or calls it. */
export function createAttributeCache<T extends object>(
  make: (attributes: Attributes) => T,
): (attributes: Attributes) => T {
  const root: Node<T> = {};
  let sets = 0;

  function lookUp(attributes: Attributes): T | undefined {
    let node: Node<T> | undefined = root;
    for (const name in attributes) {
      const value = attributes[name];
      if (value === undefined) continue;
      node = node.next?.get(name)?.next?.get(value);
      if (node === undefined) return undefined;
    }
    return node.made;
  }

  function remember(attributes: Attributes, made: T): void {
    if (sets >= MAX_SETS || !canBeRemembered(attributes)) return;
    let node = root;
    for (const name in attributes) {
      const value = attributes[name];
      if (value !== undefined) node = nextOf(nextOf(node, name), value);
    }
    node.made = made;
    sets += 1;
  }

  return (attributes) => {
    const known = lookUp(attributes);
    if (known !== undefined) return known;
    const made = make(attributes);
    remember(attributes, made);
    return made;
  };
}

/**
 * There are few sets of attributes, and each is measured again and again: what belongs to one is found by its names and
 * values themselves, in their order, so that no key has to be made of them.
 */
import type { Attributes } from '../model/telemetry.js';

/** Bounds on what is remembered, of sets and of the characters in one: for another it is made anew each time. */
const MAX_SETS = 4_000;
const MAX_LENGTH = 1_024;

/** What begins with the same names and values. */
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
    // Two lists are never the same, whatever is in them.
    if (typeof value === 'object') return false;
    if (value !== undefined) length += name.length + (typeof value === 'string' ? value.length : 0);
  }
  return length <= MAX_LENGTH;
}

/** Gives what `make` made of the same attributes before, or makes it. */
export function createRemembered<T extends object>(
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

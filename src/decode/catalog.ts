/**
 * The dialect `catalog`: a line is already an event, and only needs checking. A type that the catalog does not have is ignored,
 * so that a newer producer works with an older bridge.
 */
import { EVENT_TYPES } from '../model/event.js';
import { checkEvent, type Decoder, ignore, reject } from './decoder.js';

const KNOWN_TYPES: ReadonlySet<unknown> = new Set(EVENT_TYPES);

export function createCatalogDecoder(): Decoder {
  return {
    decode(value) {
      if (typeof value.type !== 'string') {
        return reject(
          'invalid_event',
          'type',
          `missing or not a string; use one of ${EVENT_TYPES.join(', ')}`,
        );
      }
      if (!KNOWN_TYPES.has(value.type)) return ignore('unknown_type');
      return checkEvent(value);
    },
    end: () => [],
  };
}

/**
 * The last rows of a terminal: a progress bar, or a tree that is redrawn in place. What is logged while they stand goes above
 * them (`standing.ts`).
 */
import { createLogUpdate } from 'log-update';
import { leave, type Standing, stand } from './standing.js';

export interface Bottom {
  /** Draws these lines in the place of those that stand there; none clear it. */
  show(lines: readonly string[]): void;
  /** Lets go of what stands there: it stays, and whatever is written comes below it. */
  release(): void;
}

/** `default_columns`: the width where the stream does not tell its own. */
export function createBottom(stream: NodeJS.WritableStream, default_columns: number): Bottom {
  // The cursor stays as it is: hiding it would need a handler for signals to show it again, and those are not ours.
  const redraw = createLogUpdate(stream, { showCursor: true, defaultWidth: default_columns });
  let text = '';
  const rows: Standing = { erase: () => redraw.clear(), draw: () => redraw(text) };
  return {
    show(lines) {
      text = lines.join('\n');
      if (lines.length === 0) {
        rows.erase();
        leave(rows);
      } else {
        rows.draw();
        stand(rows);
      }
    },
    release() {
      redraw.done();
      leave(rows);
    },
  };
}

/**
 * The last rows of a terminal: a progress bar, or a tree that is redrawn in place. Log lines that come meanwhile are printed
 * above them (`standing.ts`).
 */
import { createLogUpdate } from 'log-update';
import { leave, type Standing, stand } from './standing.js';

export interface Bottom {
  /** Replaces the rows with these lines; an empty array clears them. */
  show(lines: readonly string[]): void;
  /** Leaves the rows on the screen as they are; further output goes below them. */
  release(): void;
}

/** `default_columns`: the width if the stream does not have one. */
export function createBottom(stream: NodeJS.WritableStream, default_columns: number): Bottom {
  // The cursor stays visible: hiding it would need a signal handler to show it again, and signals belong to the program.
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

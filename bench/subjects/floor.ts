/**
 * The floor: reads a Unix socket, splits it into lines, parses each and drops it. No program in this language that reads
 * its events is faster.
 */
import { createServer } from 'node:net';
import { nowMs } from '../lib/clock.js';

const NEWLINE = 0x0a;

const [path] = process.argv.slice(2);
let events = 0;

const server = createServer((socket) => {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      JSON.parse(bytes.toString('utf8', start, end));
      events += 1;
      start = end + 1;
    }
    rest = bytes.subarray(start);
  });
  socket.on('end', () => process.send?.({ read: events, at_ms: nowMs() }));
});
server.listen(path);
process.on('SIGTERM', () => process.exit(0));

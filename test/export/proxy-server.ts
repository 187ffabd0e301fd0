/**
 * A proxy on loopback that forwards every request to one server, whatever host it names, and records what it was asked for:
 * a tunnel with CONNECT, or a plain request with the whole URL.
 */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

export interface Asked {
  method: string | undefined;
  /** `host:port`, or the whole URL. */
  target: string | undefined;
  authorization: string | undefined;
}

/** `wanted`: the required `proxy-authorization`; undefined lets every request through. */
export async function startProxy(to_port: number, wanted?: string) {
  const asked: Asked[] = [];
  const note = ({ method, url, headers }: IncomingMessage): boolean => {
    const authorization = headers['proxy-authorization'];
    asked.push({ method, target: url, authorization });
    return wanted === undefined || authorization === wanted;
  };
  const server: Server = createServer((incoming, response) => {
    if (!note(incoming)) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end('who are you?');
      return;
    }
    const { method, headers } = incoming;
    const path = new URL(incoming.url ?? '').pathname;
    const onward = request({ port: to_port, host: '127.0.0.1', method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
  });
  server.on('connect', (incoming: IncomingMessage, socket, head) => {
    if (!note(incoming)) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    const onward = connect(to_port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    for (const end of [socket, onward]) end.on('error', () => end.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { asked, server, port, url: `http://127.0.0.1:${port}` };
}

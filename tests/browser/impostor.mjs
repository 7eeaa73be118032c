// A server that is no hub, in a hub's place.

import { once } from 'node:events';
import { createServer } from 'node:http';

/** Another server in the hub's place, that answers everything so; 0 is any port. Gives a function that ends it, and has its `port`. */
export async function impostor(scene, port, answer) {
  const server = createServer((request, response) => answer(response, request));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const end = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  scene.atTheEnd(end);
  return Object.assign(end, { port: server.address().port });
}

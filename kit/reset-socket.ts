// Ends a TCP socket by RST, also while its FIN is being sent. Called by hbone/ and http/ where a connection is broken off.
import type { Socket } from 'node:net'

/**
 * Sends RST and destroys the socket. libuv refuses that while a shutdown is under way (EINVAL), and Node then forgets the socket
 * without closing it: its descriptor stays, and what the peer sends is read and dropped for ever. So it waits for that moment
 * to pass, and nothing is delivered meanwhile.
 */
export function resetSocket(socket: Socket): void {
  const isShuttingDown = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
  if (!isShuttingDown || socket.destroyed) {
    socket.resetAndDestroy()
    return
  }
  socket.pause()
  socket.once('finish', () => {
    if (!socket.destroyed) socket.resetAndDestroy()
  })
}

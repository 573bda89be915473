// The server of the soak: node soak-server.ts PORT. Only node: is imported, it runs inside a pod.
import net from 'node:net'
import { DAMAGED, HEADER_BYTES, HELLO, isRight, payload, SHORT, WHOLE } from './soak-bytes.ts'

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, serve)
server.listen({ port: Number(process.argv[2]), host: '::', backlog: 4096 })
process.on('SIGTERM', () => process.exit(0))

function serve(socket: net.Socket): void {
  let header: Buffer = Buffer.alloc(0)
  let expected: Buffer = Buffer.alloc(0)
  let received = 0
  let isDamaged = false
  let sent: Promise<void> = Promise.resolve()
  socket.on('error', () => socket.destroy()) // a reset is the client's to account for
  socket.on('data', (data: Buffer) => {
    let chunk = data
    if (header.length < HEADER_BYTES) {
      const before = header.length
      header = Buffer.concat([header, chunk]).subarray(0, HEADER_BYTES)
      chunk = chunk.subarray(HEADER_BYTES - before)
      if (header.length < HEADER_BYTES) return
      expected = payload(header.readUInt32BE(0), 'up', header.readUInt32BE(4))
      const answer = Buffer.concat([Buffer.of(HELLO), payload(header.readUInt32BE(0), 'down', header.readUInt32BE(8))])
      sent = new Promise((resolve) => void socket.write(answer, () => resolve()))
    }
    isDamaged ||= received + chunk.length > expected.length || !isRight(expected, received, chunk)
    received += chunk.length
  })
  socket.on('end', async () => {
    await sent
    if (!socket.destroyed)
      socket.end(Buffer.of(isDamaged ? DAMAGED : header.length === HEADER_BYTES && received === expected.length ? WHOLE : SHORT))
  })
}

// Reads sockets into one buffer that all connections of a thread share. Node makes an ArrayBuffer for every read (64 KiB, 16 KiB
// of TLS), and they alone keep the garbage collector marking. net.Socket has `onread` against that, but it is given to the
// constructor and a TLSSocket over another socket ignores it, so the fields behind it are set here.
import { Socket } from 'node:net'

const READ_BYTES = 64 * 1024

interface Fields {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

let shared: Buffer | undefined
let fields: Fields | undefined

/**
 * Starts reading, once. What was read before comes first; where the interpreter has no such fields, everything comes as usual.
 * @param socket plain or TLS, with or without a connection yet
 * @param take is called with bytes that are valid during the call only
 */
export function readShared(socket: Socket, take: (bytes: Buffer) => void): void {
  shared ??= Buffer.allocUnsafeSlow(READ_BYTES)
  fields ??= findFields()
  const inside = socket as unknown as { _handle: { useUserBuffer?(buffer: Buffer): void } | null } & Record<symbol, unknown>
  if (fields !== undefined && typeof inside._handle?.useUserBuffer === 'function') {
    inside[fields.buffer] = shared
    inside[fields.callback] = (length: number, buffer: Buffer): void => take(buffer.subarray(0, length))
    inside[fields.generator] = null
    inside._handle.useUserBuffer(shared)
  }
  socket.on('data', take)
}

/** Whether sockets are read into the shared buffer on this interpreter; a test insists on it. */
export function isReadingShared(): boolean {
  fields ??= findFields()
  return fields !== undefined
}

/** The symbols that a socket with `onread` has. */
function findFields(): Fields | undefined {
  const marked = new Socket({ onread: { buffer: Buffer.alloc(1), callback: () => true } })
  const symbols = Object.getOwnPropertySymbols(marked)
  const find = (name: string): symbol | undefined => symbols.find((symbol) => symbol.description === name)
  const [buffer, callback, generator] = [find('kBuffer'), find('kBufferCb'), find('kBufferGen')]
  return buffer === undefined || callback === undefined || generator === undefined ? undefined : { buffer, callback, generator }
}

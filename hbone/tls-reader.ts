// Reads a TLSSocket into one buffer that all connections of a thread share. Node makes an ArrayBuffer for every 16 KiB that TLS
// gives, and they alone keep the garbage collector marking (a fifth of the receiving side's CPU time, by perf). net.Socket
// has `onread` against that; a TLSSocket over another socket ignores the option, so its fields are set here.
import { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** What TLS gives at once; more is never used of the buffer. */
const READ_BYTES = 16 * 1024

interface Fields {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

let shared: Buffer | undefined
let fields: Fields | undefined

/**
 * Starts reading. What TLS has given before comes first; where the interpreter has no such fields, everything comes as usual.
 * @param take is called with bytes that are valid during the call only
 */
export function readTls(socket: TLSSocket, take: (bytes: Buffer) => void): void {
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

/** Whether TLS is read into the shared buffer on this interpreter; a test insists on it. */
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

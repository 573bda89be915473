// A command in a container of a pod through the API server (`pods/exec`): streams both ways, its exit status.
import type { Readable, Writable } from 'node:stream'
import { objectFailure } from '../../objects/errors.ts'
import type { ChannelSocket, ClusterAccess, PodAddress } from './access.ts'

const [STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE] = [0, 1, 2, 3, 4, 255]

/** What runs where; `stdin` undefined = none. With `tty` both outputs come on `stdout`. */
export interface ExecRequest extends PodAddress {
  readonly container: string
  readonly command: readonly string[]
  readonly stdin?: Readable
  readonly stdout: Writable
  readonly stderr: Writable
  readonly tty?: boolean
  /** Called for the size of the terminal now; `onResize` calls it again. */
  readonly size?: () => { readonly columns: number; readonly rows: number }
  onResize?(listener: () => void): void
}

interface ExecStatus {
  readonly status?: string
  readonly reason?: string
  readonly message?: string
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] }
}

/** @returns the command's exit status @throws MeshError FORBIDDEN | NOT_FOUND | API_UNREACHABLE | API_FAILED (it could not be started) */
export async function execInPod(access: Pick<ClusterAccess, 'openChannels'>, request: ExecRequest): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<ExecStatus>()
  let socket: ChannelSocket | undefined
  const write = (stream: Writable, data: Buffer): void => {
    if (stream.write(data)) return
    socket?.pause?.() // a slow terminal must not fill our memory
    stream.once('drain', () => socket?.resume?.())
  }
  socket = await access.openChannels(pathOf(request), (channel, data) => {
    if (channel === STDOUT) write(request.stdout, data)
    else if (channel === STDERR) write(request.stderr, data)
    else if (channel === STATUS) resolve(parseStatus(data))
    return channel !== STATUS
  })
  socket.addEventListener('close', () => reject(objectFailure('API_FAILED', { what: 'the connection ended before the command did' })))
  if (request.stdin !== undefined) feed(request.stdin, socket)
  sendSize(request, socket)
  return exitOf(await promise)
}

function pathOf({ namespace, pod, container, command, stdin, tty = false }: ExecRequest): string {
  const query = new URLSearchParams(command.map((word) => ['command', word]))
  query.set('container', container)
  for (const [name, value] of Object.entries({ stdin: stdin !== undefined, stdout: true, stderr: !tty, tty }))
    query.set(name, String(value))
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec?${query}`
}

function feed(stdin: Readable, socket: ChannelSocket): void {
  stdin.on('data', (chunk: Buffer | string) => socket.send(Buffer.concat([Buffer.of(STDIN), Buffer.from(chunk)])))
  stdin.on('end', () => socket.send(Buffer.of(CLOSE, STDIN)))
}

function sendSize({ tty, size, onResize }: ExecRequest, socket: ChannelSocket): void {
  if (tty !== true || size === undefined) return
  const send = (): void => {
    const { columns, rows } = size()
    socket.send(Buffer.concat([Buffer.of(RESIZE), Buffer.from(JSON.stringify({ Width: columns, Height: rows }))]))
  }
  send()
  onResize?.(send)
}

function parseStatus(data: Buffer): ExecStatus {
  try {
    return JSON.parse(data.toString('utf8')) as ExecStatus
  } catch {
    return { status: 'Failure', message: data.toString('utf8', 0, 500) } // old servers say it in words
  }
}

function exitOf({ status, reason, message, details }: ExecStatus): number {
  if (status === 'Success') return 0
  const code = details?.causes?.find((cause) => cause.reason === 'ExitCode')?.message
  if (reason === 'NonZeroExitCode' && code !== undefined && /^\d{1,3}$/.test(code)) return Number(code)
  throw objectFailure('API_FAILED', { what: message ?? 'the command could not be started' })
}

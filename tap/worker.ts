// Worker of tap.ts: reads AF_PACKET sockets in namespaces with blocking poll() and answers questions in between.
// Such sockets cannot be a net.Socket (libuv refuses the type), so that a thread has to wait for them.
import { closeSync } from 'node:fs'
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { check, lastErrno, library } from '../linux/ffi.ts'
import { inNetns } from '../linux/netns.ts'
import { type Flow, FlowTable, type Sighting } from './flows.ts'

/** What tap.ts asks; every question is answered with its `id`. */
export type TapQuestion = { readonly id: number } & (
  | { readonly kind: 'open'; readonly tap: number; readonly netnsFd?: number; readonly device: string }
  | { readonly kind: 'watch'; readonly tap: number; readonly marker: string }
  | { readonly kind: 'read'; readonly tap: number }
  | { readonly kind: 'clear'; readonly tap: number }
  | { readonly kind: 'close'; readonly tap: number }
  | { readonly kind: 'end' }
)

/** All that a tap knows. `lost`: packets that the kernel or the flow table dropped; then the rest proves nothing absent. */
export interface TapReading {
  readonly flows: readonly Flow[]
  readonly sightings: readonly Sighting[]
  readonly packets: number
  readonly lost: number
}

/** The answer to one question; `error` when it could not be done. */
export interface TapAnswer {
  readonly id: number
  readonly error?: string
  readonly reading?: TapReading
}

interface OpenTap {
  readonly fd: number
  readonly table: FlowTable
  lost: number
}

const AF_PACKET = 17
const SOCK_DGRAM = 2 // cooked: packets begin with the IP header
const SOCK_FLAGS = 0o2000000 | 0o4000 // CLOEXEC, NONBLOCK
const ETH_P_ALL = 3
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
const SOL_PACKET = 263
const PACKET_ADD_MEMBERSHIP = 1
const PACKET_STATISTICS = 6
const PACKET_MR_PROMISC = 1 // a bridge shows what it only forwards
const EAGAIN = 11
const EINTR = 4
const ENETDOWN = 100
const POLLIN = 1
const RECEIVE_BUFFER_BYTES = 32 << 20
const LARGEST_PACKET_BYTES = 256 << 10 // segments before they are cut (BIG TCP)
const WAIT_MS = 10
const SETTLE_MS = 10

const c = library('libc.so.6')
const sys = {
  socket: c.func('int socket(int family, int type, int protocol)'),
  bind: c.func('int bind(int fd, const void *address, uint32_t length)'),
  setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)'),
  getsockopt: c.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
  recv: c.func('int64 recv(int fd, void *buffer, size_t length, int flags)'),
  poll: c.func('int poll(void *fds, unsigned long count, int timeout)'),
  ifIndex: c.func('uint32_t if_nametoindex(const char *name)'),
}

const port = workerData as MessagePort
const taps = new Map<number, OpenTap>()
const packet = Buffer.allocUnsafeSlow(LARGEST_PACKET_BYTES)
let hasEnded = false

while (!hasEnded) {
  waitForPackets(WAIT_MS)
  for (let question = receiveMessageOnPort(port); question !== undefined; question = receiveMessageOnPort(port)) answer(question.message)
}
for (const tap of taps.values()) closeSync(tap.fd)
port.close()

function answer(question: TapQuestion): void {
  try {
    const reading = obey(question)
    port.postMessage({ id: question.id, ...(reading === undefined ? {} : { reading }) } satisfies TapAnswer)
  } catch (error) {
    port.postMessage({ id: question.id, error: String(error) } satisfies TapAnswer)
  }
}

function obey(question: TapQuestion): TapReading | undefined {
  if (question.kind === 'end') {
    hasEnded = true
    return undefined
  }
  if (question.kind === 'open') {
    taps.set(question.tap, { fd: openSocket(question.device, question.netnsFd), table: new FlowTable(), lost: 0 })
    return undefined
  }
  const tap = taps.get(question.tap)
  if (tap === undefined) throw new Error('the tap is closed')
  if (question.kind === 'watch') tap.table.watch(question.marker)
  if (question.kind === 'close') {
    closeSync(tap.fd)
    taps.delete(question.tap)
  }
  if (question.kind === 'clear') {
    settle()
    droppedBy(tap.fd)
    tap.table.clear()
    tap.lost = 0
  }
  return question.kind === 'read' ? read(tap) : undefined
}

function read(tap: OpenTap): TapReading {
  settle()
  tap.lost += droppedBy(tap.fd)
  return { flows: tap.table.flows(), sightings: tap.table.sightings(), packets: tap.table.packets, lost: tap.lost + tap.table.overflowed }
}

/** What was sent before the question was asked may still be on its way through a softirq. */
function settle(): void {
  waitForPackets(SETTLE_MS)
  waitForPackets(SETTLE_MS)
}

function waitForPackets(timeoutMs: number): void {
  const fds = Buffer.alloc(8 * taps.size)
  let at = 0
  for (const tap of taps.values()) {
    fds.writeInt32LE(tap.fd, at)
    fds.writeInt16LE(POLLIN, at + 4)
    at += 8
  }
  const ready = sys.poll(fds, taps.size, timeoutMs)
  if (ready <= 0) return
  for (const tap of taps.values()) drain(tap)
}

function drain(tap: OpenTap): void {
  for (;;) {
    const length = Number(sys.recv(tap.fd, packet, packet.length, 0))
    if (length >= 0) tap.table.add(packet.subarray(0, length))
    else if (lastErrno() === EAGAIN || lastErrno() === ENETDOWN)
      return // ENETDOWN: the link is gone; what was seen stays
    else if (lastErrno() !== EINTR) check(length, 'recv')
  }
}

function openSocket(device: string, netnsFd: number | undefined): number {
  const open = (): number => {
    const index = sys.ifIndex(device)
    if (index === 0) throw new Error(`no device ${device}`)
    const fd = check(sys.socket(AF_PACKET, SOCK_DGRAM | SOCK_FLAGS, 0), 'socket AF_PACKET') // protocol 0: silent until bound
    const size = Buffer.alloc(4)
    size.writeInt32LE(RECEIVE_BUFFER_BYTES)
    check(sys.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4), 'SO_RCVBUFFORCE')
    const membership = Buffer.alloc(16)
    membership.writeInt32LE(index, 0)
    membership.writeUInt16LE(PACKET_MR_PROMISC, 4)
    check(sys.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, 16), 'PACKET_ADD_MEMBERSHIP')
    const address = Buffer.alloc(20) // struct sockaddr_ll
    address.writeUInt16LE(AF_PACKET, 0)
    address.writeUInt16BE(ETH_P_ALL, 2)
    address.writeInt32LE(index, 4)
    check(sys.bind(fd, address, address.length), 'bind AF_PACKET')
    return fd
  }
  return netnsFd === undefined ? open() : inNetns(netnsFd, open)
}

/** The kernel's count since the last question; asking resets it. */
function droppedBy(fd: number): number {
  const statistics = Buffer.alloc(8)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(statistics.length)
  check(sys.getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, statistics, length), 'PACKET_STATISTICS')
  return statistics.readUInt32LE(4)
}

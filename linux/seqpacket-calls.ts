// The system calls of AF_UNIX SOCK_SEQPACKET with descriptors (SCM_RIGHTS), which net.Socket refuses. Used by
// seqpacket.ts on the owner's thread (listen, connect, send) and by seqpacket-worker.ts (poll, accept, receive).
import { chmodSync, closeSync, lstatSync, unlinkSync } from 'node:fs'
import koffi from 'koffi'
import { codeOf } from '../kit/error.ts'
import { check, lastErrno, library, linuxFailure } from './ffi.ts'

/** Who connected, as the kernel knows it; in namespaces of the calling process. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** One packet. The receiver owns the fds (O_CLOEXEC) and closes them. Nothing in it and no fds = the peer has ended. */
export interface Packet {
  readonly bytes: Uint8Array
  readonly fds: readonly number[]
  /** The packet was longer than PACKET_BYTES, or more descriptors came than are read: what is here is not all. */
  readonly isTruncated: boolean
}

/** Longest packet that is read; the rest of a longer one is lost and said to be truncated. */
export const PACKET_BYTES = 1024

/** Opens a listener and replaces a socket that an earlier process left; mode 0600. @throws MeshError SYSCALL_FAILED */
export function listenAt(path: string): number {
  const address = unixAddress(path, 'bind')
  removeStale(path)
  return openSocket((fd) => {
    check(libc().bind(fd, address, address.length), 'bind')
    chmodSync(path, 0o600) // nobody can connect before listen()
    check(libc().listen(fd, BACKLOG), 'listen')
  })
}

/** @throws MeshError SYSCALL_FAILED: ENOENT, ECONNREFUSED (nobody listens), EAGAIN (backlog full) */
export function connectTo(path: string): number {
  const address = unixAddress(path, 'connect')
  return openSocket((fd) => void check(libc().connect(fd, address, address.length), 'connect'))
}

/** @returns a connection, or undefined when there is none (any more). @throws MeshError SYSCALL_FAILED (EMFILE, …) */
export function acceptFrom(fd: number): number | undefined {
  const accepted = libc().accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK)
  if (accepted >= 0) return accepted
  if ([EAGAIN, EINTR, ECONNABORTED].includes(lastErrno())) return undefined
  return check(accepted, 'accept4')
}

/** Two connected sockets, to wake a poll. @throws MeshError SYSCALL_FAILED */
export function socketPair(): readonly [number, number] {
  const pair = [0, 0]
  check(libc().socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 'socketpair')
  return [pair[0] ?? -1, pair[1] ?? -1]
}

/** The process that called connect(). @throws MeshError SYSCALL_FAILED */
export function peerCredentials(fd: number): PeerCredentials {
  const value = Buffer.alloc(12)
  check(libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, [value.length]), 'getsockopt SO_PEERCRED')
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
}

/**
 * Sends one packet, without waiting.
 * @param passFds descriptors to give to the peer; they stay open here
 * @throws MeshError SYSCALL_FAILED: EPIPE, ECONNRESET (peer gone), EAGAIN (peer does not read), EMSGSIZE
 */
export function sendPacket(fd: number, bytes: Uint8Array, passFds: readonly number[] = []): void {
  const control = passFds.length === 0 ? null : rightsOf(passFds)
  const header = messageHeader(bytes, control, control?.length ?? 0)
  check(libc().sendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL), 'sendmsg')
}

/** @returns a packet, or undefined when there is none now. @throws MeshError SYSCALL_FAILED (ECONNRESET, …) */
export function receivePacket(fd: number): Packet | undefined {
  const bytes = Buffer.alloc(PACKET_BYTES)
  const control = Buffer.alloc(CONTROL_BYTES)
  const header = messageHeader(bytes, control, control.length)
  const length = Number(libc().recvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
  if (length < 0 && [EAGAIN, EINTR].includes(lastErrno())) return undefined
  check(length, 'recvmsg')
  const fds = rightsIn(control.subarray(0, Number(header.controlLength)))
  return { bytes: bytes.subarray(0, length), fds, isTruncated: (header.flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0 }
}

/** Ends both directions: the peer and a poll of this socket see it at once. A socket whose peer is gone is fine. */
export function shutdownSocket(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR)
}

/**
 * Blocks the thread until something can be read (or has ended) or the time is over.
 * @returns indices of `fds` that are ready
 * @throws MeshError SYSCALL_FAILED
 */
export function waitReadable(fds: readonly number[], timeoutMs: number): number[] {
  const table = Buffer.alloc(8 * fds.length) // struct pollfd { int fd; short events; short revents }
  for (const [i, fd] of fds.entries()) {
    table.writeInt32LE(fd, 8 * i)
    table.writeInt16LE(POLLIN, 8 * i + 4)
  }
  const ready = libc().poll(table, fds.length, timeoutMs)
  if (ready < 0 && lastErrno() === EINTR) return []
  if (check(ready, 'poll') === 0) return []
  return fds.flatMap((_, i) => (table.readInt16LE(8 * i + 6) === 0 ? [] : [i]))
}

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const SOL_SOCKET = 1
const SO_PEERCRED = 17
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000
const SHUT_RDWR = 2
const POLLIN = 1
const EINTR = 4
const EAGAIN = 11
const ENAMETOOLONG = 36
const ECONNABORTED = 103
const BACKLOG = 16
const LONGEST_PATH_BYTES = 107 // sockaddr_un.sun_path with its NUL
const HEAD_BYTES = 16 // struct cmsghdr: size_t length, int level, int type
/** Room for 4 descriptors: more than anybody may send, so that a wrong count is seen and not only a cut. */
const CONTROL_BYTES = HEAD_BYTES + 4 * 4

interface MessageHeader {
  readonly name: null
  readonly nameLength: number
  readonly iov: readonly { readonly base: Uint8Array; readonly length: number }[]
  readonly iovLength: number
  readonly control: Uint8Array | null
  /** The kernel's answer after recvmsg. */
  readonly controlLength: number | bigint
  /** The kernel's answer after recvmsg. */
  readonly flags: number
}

function messageHeader(bytes: Uint8Array, control: Uint8Array | null, controlLength: number): MessageHeader {
  return { name: null, nameLength: 0, iov: [{ base: bytes, length: bytes.length }], iovLength: 1, control, controlLength, flags: 0 }
}

function rightsOf(fds: readonly number[]): Buffer {
  const control = Buffer.alloc(HEAD_BYTES + Math.ceil(fds.length / 2) * 8) // ints, padded to 8
  control.writeBigUInt64LE(BigInt(HEAD_BYTES + 4 * fds.length), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  for (const [i, fd] of fds.entries()) control.writeInt32LE(fd, HEAD_BYTES + 4 * i)
  return control
}

function rightsIn(control: Buffer): number[] {
  const fds: number[] = []
  for (let at = 0; at + HEAD_BYTES <= control.length; ) {
    const length = Number(control.readBigUInt64LE(at))
    if (length < HEAD_BYTES) break
    const isRights = control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS
    const end = Math.min(at + length, control.length)
    for (let i = at + HEAD_BYTES; isRights && i + 4 <= end; i += 4) fds.push(control.readInt32LE(i))
    at += Math.ceil(length / 8) * 8
  }
  return fds
}

function unixAddress(path: string, call: string): Buffer {
  const text = Buffer.from(path)
  if (text.length > LONGEST_PATH_BYTES || text.includes(0))
    throw linuxFailure('SYSCALL_FAILED', { call, errno: ENAMETOOLONG, name: 'ENAMETOOLONG', path })
  const address = Buffer.alloc(2 + text.length + 1)
  address.writeUInt16LE(AF_UNIX, 0)
  address.set(text, 2)
  return address
}

/** Only a socket is replaced: a wrong setting must not delete a file. */
function removeStale(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

function openSocket(prepare: (fd: number) => void): number {
  const fd = check(libc().socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket')
  try {
    prepare(fd)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

interface SeqpacketCalls {
  socket(family: number, type: number, protocol: number): number
  socketpair(family: number, type: number, protocol: number, pair: number[]): number
  bind(fd: number, address: Buffer, length: number): number
  connect(fd: number, address: Buffer, length: number): number
  listen(fd: number, backlog: number): number
  accept4(fd: number, address: null, length: null, flags: number): number
  getsockopt(fd: number, level: number, name: number, value: Buffer, length: number[]): number
  shutdown(fd: number, how: number): number
  poll(table: Buffer, count: number, timeoutMs: number): number
  sendmsg(fd: number, header: MessageHeader, flags: number): number | bigint
  recvmsg(fd: number, header: MessageHeader, flags: number): number | bigint
}

let calls: SeqpacketCalls | undefined

function libc(): SeqpacketCalls {
  if (calls === undefined) {
    const c = library('libc.so.6')
    const iovec = koffi.struct({ base: 'void *', length: 'size_t' })
    const msghdr = koffi.struct({
      name: 'void *',
      nameLength: 'uint32_t',
      iov: koffi.pointer(iovec),
      iovLength: 'size_t',
      control: 'void *',
      controlLength: 'size_t',
      flags: 'int',
    })
    calls = {
      socket: c.func('int socket(int family, int type, int protocol)'),
      socketpair: c.func('int socketpair(int family, int type, int protocol, _Out_ int *pair)'),
      bind: c.func('int bind(int fd, const void *address, uint32_t length)'),
      connect: c.func('int connect(int fd, const void *address, uint32_t length)'),
      listen: c.func('int listen(int fd, int backlog)'),
      accept4: c.func('int accept4(int fd, void *address, void *length, int flags)'),
      getsockopt: c.func('int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ uint32_t *length)'),
      shutdown: c.func('int shutdown(int fd, int how)'),
      poll: c.func('int poll(_Inout_ void *table, unsigned long count, int timeout)'),
      sendmsg: c.func('sendmsg', 'int64', ['int', koffi.pointer(msghdr), 'int']),
      recvmsg: c.func('recvmsg', 'int64', ['int', koffi.inout(koffi.pointer(msghdr)), 'int']),
    }
  }
  return calls
}

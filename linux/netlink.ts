// One netlink request and its first answer, in this thread's network namespace. Messages are built and read by the callers.
import { closeSync } from 'node:fs'
import { check, library } from './ffi.ts'

/** `NETLINK_…` of linux/netlink.h. */
export const NETLINK = { ROUTE: 0, NETFILTER: 12 } as const

/** struct nlmsghdr: length, type, flags, sequence number, port. */
export const NETLINK_HEADER_BYTES = 16

/** Type of an answer that only carries an errno (negative) behind the header; 0 = acknowledged. */
export const NETLINK_ERROR = 2

/**
 * @param body what stands behind the header
 * @param mostBytes where the answer is cut
 * @returns the first datagram of the answer
 * @throws MeshError SYSCALL_FAILED
 */
export function askNetlink(protocol: number, type: number, flags: number, body: Buffer, mostBytes = 4096): Buffer {
  const message = Buffer.alloc(NETLINK_HEADER_BYTES + body.length)
  message.writeUInt32LE(message.length, 0)
  message.writeUInt16LE(type, 4)
  message.writeUInt16LE(flags, 6)
  message.writeUInt32LE(1, 8)
  body.copy(message, NETLINK_HEADER_BYTES)
  const { socket, send, recv } = libc()
  const fd = check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), 'socket')
  try {
    check(send(fd, message, message.length, 0), 'send netlink')
    const answer = Buffer.alloc(mostBytes)
    return answer.subarray(0, Number(check(recv(fd, answer, answer.length, 0), 'recv netlink')))
  } finally {
    closeSync(fd)
  }
}

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000

interface NetlinkCalls {
  socket(family: number, type: number, protocol: number): number
  send(fd: number, data: Buffer, length: number, flags: number): number | bigint
  recv(fd: number, data: Buffer, length: number, flags: number): number | bigint
}

let calls: NetlinkCalls | undefined

function libc(): NetlinkCalls {
  if (calls === undefined) {
    const c = library('libc.so.6')
    calls = {
      socket: c.func('int socket(int family, int type, int protocol)'),
      send: c.func('int64 send(int fd, const void *data, size_t length, int flags)'),
      recv: c.func('int64 recv(int fd, _Out_ void *data, size_t length, int flags)'),
    }
  }
  return calls
}

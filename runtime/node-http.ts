// HTTP GET to a process inside a network namespace of the mesh: the socket is opened there, the rest happens here.
import { request } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { openNetns } from '../linux/netns.ts'
import { tcpConnect } from '../linux/socket.ts'
import { parseIp } from '../model/address.ts'
import { runtimeFailure } from './errors.ts'
import { NETNS_DIR } from './layout.ts'

const TIMEOUT_MS = 5000
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/**
 * @param netns name below /run/netns
 * @returns status and body
 * @throws MeshError NODE_UNREACHABLE
 */
export function getInNetns(netns: string, ip: string, port: number, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => reject(runtimeFailure('NODE_UNREACHABLE', { netns, port, path }, cause))
    const address = parseIp(ip)
    if (address === undefined) return fail(`${ip} is no address`)
    let socket: Socket
    try {
      using handle = openNetns(join(NETNS_DIR, netns))
      socket = new Socket({ fd: tcpConnect({ netnsFd: handle.fd, to: { ip: address, port } }), readable: true, writable: true })
    } catch (error) {
      return fail(error)
    }
    const outgoing = request({
      host: ip,
      port,
      path,
      createConnection: () => socket,
      timeout: TIMEOUT_MS,
      headers: { connection: 'close' },
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    outgoing.on('error', fail)
    outgoing.on('response', (answer) => {
      const chunks: Buffer[] = []
      let length = 0
      answer.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > MAX_ANSWER_BYTES) outgoing.destroy(new Error('the answer is too long'))
        else chunks.push(chunk)
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }))
      answer.on('error', fail)
    })
    outgoing.end()
  })
}

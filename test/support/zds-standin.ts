// A stand-in for ztunnel: takes pods over ZDS, opens and registers the proxy's listeners in them and says on each
// connection who it is and where the connection was going. Arguments: ZDS socket, directory of pins.
import { closeSync } from 'node:fs'
import net from 'node:net'
import { hasSocketRegistry, openSocketRegistry } from '../../bpf/registry.ts'
import { systemClock } from '../../kit/clock.ts'
import { createLog } from '../../kit/log.ts'
import { netnsCookie } from '../../linux/netns.ts'
import { originalDst, tcpListen, udpBind } from '../../linux/socket.ts'
import type { IpAddress } from '../../model/address.ts'
import { formatEndpoint } from '../../model/address.ts'
import { ZdsClient, type ZdsReceived } from '../../zds/client.ts'

const [zdsPath = '', bpffsDir = ''] = process.argv.slice(2)
const FAMILIES: readonly { readonly family: 4 | 6; readonly ip: IpAddress }[] = [
  { family: 4, ip: '0.0.0.0' as IpAddress },
  { family: 6, ip: '::' as IpAddress },
]

interface Served {
  readonly inode: bigint
  readonly tcp: readonly { readonly fd: number; readonly family: 4 | 6; readonly port: number }[]
  readonly udp: readonly { readonly fd: number; readonly family: 4 | 6 }[]
  readonly servers: readonly net.Server[]
}

const pods = new Map<string, Served>()

function serve(netnsFd: number, inode: bigint): Served {
  const opened: number[] = []
  const keep = (fd: number): number => {
    opened.push(fd)
    return fd
  }
  try {
    const tcp = [15_001, 15_006, 15_008, 15_053].flatMap((port) =>
      FAMILIES.map(({ family, ip }) => ({ family, port, fd: keep(tcpListen({ netnsFd, ip, port, reusePort: true })) })),
    )
    const udp = FAMILIES.map(({ family, ip }) => ({ family, fd: keep(udpBind({ netnsFd, ip, port: 15_053, reusePort: true })) }))
    const servers = tcp.map(({ fd, port }) => net.createServer((socket) => answer(socket, port)).listen({ fd }))
    return { inode, tcp, udp, servers }
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw error
  }
}

/** One line, then an echo, so that a connection can stay open. */
function answer(socket: net.Socket, port: number): void {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  const original = originalDst(fd, 4) ?? originalDst(fd, 6)
  socket.on('error', () => socket.destroy())
  socket.write(`ztunnel ${port} orig=${original === undefined ? 'none' : formatEndpoint(original)}\n`)
  socket.pipe(socket)
}

function stop(served: Served | undefined): void {
  for (const server of served?.servers ?? []) server.close()
  for (const { fd } of served?.udp ?? []) closeSync(fd)
}

async function onRequest(request: ZdsReceived): Promise<void> {
  if (request.kind === 'del') {
    stop(pods.get(request.uid))
    pods.delete(request.uid)
  }
  if (request.kind !== 'add' || request.netns === undefined) return
  using netns = request.netns
  let served = pods.get(request.uid)
  if (served?.inode !== netns.inode) {
    stop(served)
    served = serve(netns.fd, netns.inode)
    pods.set(request.uid, served)
  }
  if (!hasSocketRegistry(bpffsDir)) return // the agent redirects by nftables
  using registry = openSocketRegistry(bpffsDir)
  const cookie = netnsCookie(netns.fd)
  for (const { fd, family, port } of served.tcp) registry.registerTcp({ fd, family, port, cookie })
  for (const { fd, family } of served.udp) registry.registerDns({ fd, family, cookie })
}

if (import.meta.main) {
  const log = createLog({ process: 'standin', levels: 'off' })
  ZdsClient.start({ path: zdsPath, log, clock: systemClock, onRequest, onState: () => undefined })
}

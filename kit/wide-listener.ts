// Accepts on one port with several sockets (SO_REUSEPORT). libuv takes one connection per listening socket and turn of the event
// loop: with one socket, new connections of a busy process wait for a turn each, one behind the other, while those that were
// accepted before get theirs in every turn. Called by waypoint/ and bench/.
import net from 'node:net'

/** Connections accepted in one turn at most: 500 that come at once are in after some thirty turns. */
const ACCEPTED_PER_TURN = 16

/** Where to listen. */
export interface ListenAddress {
  readonly host: string
  /** 0 = any that is free. */
  readonly port: number
  /** Connections that wait, of each socket; cut by net.core.somaxconn. */
  readonly backlog: number
}

/** The sockets of one port. */
export class WideListener {
  readonly #servers: readonly net.Server[]

  private constructor(servers: readonly net.Server[]) {
    this.#servers = servers
  }

  /**
   * Opens all sockets or none.
   * @param failed a socket could not accept
   * @throws Error of net.Server (EADDRINUSE)
   */
  static async open(
    options: net.ServerOpts,
    { host, port, backlog }: ListenAddress,
    accept: (socket: net.Socket) => void,
    failed: (error: Error) => void,
  ): Promise<WideListener> {
    const servers = Array.from({ length: ACCEPTED_PER_TURN }, () => net.createServer(options, accept))
    const listener = new WideListener(servers)
    await assertFree(host, port)
    try {
      for (const server of servers) await listening(server, { host, port: listener.port || port, backlog, reusePort: true })
    } catch (error) {
      listener.close()
      throw error
    }
    for (const server of servers) server.on('error', failed)
    return listener
  }

  /** 0 = closed. */
  get port(): number {
    const address = this.#servers[0]?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Accepts no more. Connections that were accepted live on. */
  close(): void {
    for (const server of this.#servers) server.close()
  }
}

/** With SO_REUSEPORT a second process would get half of the connections in silence. */
async function assertFree(host: string, port: number): Promise<void> {
  if (port === 0) return
  const probe = net.createServer()
  await listening(probe, { host, port })
  await new Promise((resolve) => probe.close(resolve))
}

function listening(server: net.Server, options: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

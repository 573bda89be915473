// Both ends of ZDS for tests: ours (Agent, Ztunnel) and raw ones that say what they like (RawAgent, RawZtunnel).
import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pause, systemClock } from '../../kit/clock.ts'
import { closeAll, type SeqpacketSocket, SeqpacketThread } from '../../linux/seqpacket.ts'
import type { Packet } from '../../linux/seqpacket-calls.ts'
import { ZdsClient, type ZdsReceived } from '../../zds/client.ts'
import { type ZdsConnection, ZdsServer } from '../../zds/server.ts'
import { silentLog } from './netns-lab.ts'

let sockets = 0

/** A path that no other test uses. */
export function socketPath(directory: string): string {
  return join(directory, `zds${++sockets}.sock`)
}

/** Open descriptors of this process, by what they are. */
export function descriptors(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).replace(/:\[\d+\]$/, '')
      } catch {
        return undefined // the descriptor of readdir itself
      }
    })
    .filter((kind) => kind !== undefined)
    .sort()
}

/** Polls. */
export async function until(test: () => boolean, what: string, limitMs = 5000): Promise<void> {
  const end = systemClock.monotonicMs() + limitMs
  while (!test()) {
    if (systemClock.monotonicMs() > end) assert.fail(`not in ${limitMs} ms: ${what}`)
    await pause(systemClock, 5)
  }
}

/** The server, and every connection that said hello. */
export class Agent implements AsyncDisposable {
  readonly path: string
  readonly connections: ZdsConnection[] = []
  readonly server: ZdsServer

  constructor(path: string) {
    this.path = path
    this.server = ZdsServer.listen({ path, log: silentLog, onConnection: (connection) => void this.connections.push(connection) })
  }

  async connection(n = 1): Promise<ZdsConnection> {
    await until(() => this.connections.length >= n, `connection ${n}`)
    return this.connections[n - 1]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close()
  }
}

/** The client, and all that it was told. */
export class Ztunnel implements AsyncDisposable {
  readonly received: ZdsReceived[] = []
  readonly states: boolean[] = []
  readonly client: ZdsClient
  constructor(path: string, answer: (request: ZdsReceived) => Promise<void> = async () => undefined) {
    this.client = ZdsClient.start({
      path,
      log: silentLog,
      clock: systemClock,
      onState: (isConnected) => void this.states.push(isConnected),
      onRequest: async (request) => {
        this.received.push(request)
        await answer(request)
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close()
    for (const request of this.received) request.netns?.[Symbol.dispose]()
  }
}

/** A raw end of the socket that says what it likes. */
export class RawZtunnel implements AsyncDisposable {
  readonly thread = new SeqpacketThread()
  readonly socket: SeqpacketSocket
  readonly packets: Packet[] = []
  isEnded = false
  constructor(path: string) {
    this.socket = this.thread.connect(path)
    this.socket.read({ onPacket: (packet) => void this.packets.push(packet), onEnd: () => Object.assign(this, { isEnded: true }) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const packet of this.packets) closeAll(packet.fds)
    this.socket.close()
    await this.thread.stop()
  }
}

/** A raw agent: takes connections and lets the test speak. */
export class RawAgent implements AsyncDisposable {
  readonly path: string
  readonly thread = new SeqpacketThread()
  readonly accepted: { readonly socket: SeqpacketSocket; readonly packets: Packet[]; isEnded: boolean }[] = []
  constructor(path: string) {
    this.path = path
    this.thread.listen(path, {
      onConnection: (socket, resume) => {
        const entry = { socket, packets: [] as Packet[], isEnded: false }
        this.accepted.push(entry)
        socket.read({ onPacket: (packet) => void entry.packets.push(packet), onEnd: () => Object.assign(entry, { isEnded: true }) })
        resume()
      },
      onError: (error) => assert.fail(error),
    })
  }

  async peer(n = 1): Promise<(typeof this.accepted)[number]> {
    await until(() => (this.accepted[n - 1]?.packets.length ?? 0) > 0, `hello of connection ${n}`)
    return this.accepted[n - 1]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thread.stop()
  }
}

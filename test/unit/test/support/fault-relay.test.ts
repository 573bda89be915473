// The fault relay: what it changes is what was asked for, the bytes are not, and a seed repeats itself.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { IpAddress } from '../../../../model/address.ts'
import { FaultRelay, type Faults } from '../../../support/fault-relay.ts'
import { payloadOf } from '../../../support/seq-frame.ts'

const HOST = '127.0.0.1' as IpAddress
const REQUEST = payloadOf(1, 1, 30_000)
const ANSWER = payloadOf(1, 2, 50_000)

/** What a client and a server behind the relay have read, and how their connection ended. */
interface Seen {
  readonly atServer: Buffer
  readonly atClient: Buffer
  readonly clientError: string
}

describe('fault-relay', () => {
  /** The server answers after the client's end of stream: that takes a half-close. */
  async function exchange(faults: Faults, seed = 1): Promise<{ seen: Seen; relay: FaultRelay; tookMs: number }> {
    const atServer: Buffer[] = []
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', (chunk) => void atServer.push(chunk as Buffer)).on('end', () => socket.end(ANSWER))
    })
    server.listen(0, HOST)
    await once(server, 'listening')
    const relay = await FaultRelay.listen({ to: { ip: HOST, port: (server.address() as net.AddressInfo).port }, seed, faults })
    const begunMs = performance.now()
    const client = net.connect({ host: HOST, port: relay.port, allowHalfOpen: true })
    let clientError = ''
    const atClient: Buffer[] = []
    client.on('error', (error: NodeJS.ErrnoException) => {
      clientError = error.code ?? ''
    })
    client.on('data', (chunk) => void atClient.push(chunk as Buffer))
    client.end(REQUEST)
    await new Promise((resolve) => client.once('close', resolve))
    const tookMs = performance.now() - begunMs
    await relay[Symbol.asyncDispose]()
    server.close()
    return { seen: { atServer: Buffer.concat(atServer), atClient: Buffer.concat(atClient), clientError }, relay, tookMs }
  }

  for (const row of [
    { name: 'no fault', faults: {} },
    { name: 'pieces', faults: { pieceBytes: [1, 2000] } },
    { name: 'delays', faults: { delayMs: [0, 3], pieceBytes: [1000, 9000] } },
  ] satisfies { name: string; faults: Faults }[]) {
    it(`passes every byte and both half-closes: ${row.name}`, async () => {
      const { seen, relay } = await exchange(row.faults)
      assert.ok(seen.atServer.equals(REQUEST) && seen.atClient.equals(ANSWER))
      assert.deepEqual(relay.connections, [{ number: 0, bytesToServer: REQUEST.length, bytesToClient: ANSWER.length, outcome: 'clean' }])
    })
  }

  it('reads slowly', async () => {
    const { seen, tookMs } = await exchange({ slow: { probability: 1, bytesPerSecond: [100_000, 100_000] } })
    assert.ok(seen.atClient.equals(ANSWER))
    assert.ok(tookMs >= 250, `${tookMs} ms for 30 or 50 kB at 100 kB/s`)
  })

  it('resets after so many bytes, both sides', async () => {
    const { seen, relay } = await exchange({ reset: { probability: 1, afterBytes: [10_000, 20_000] } })
    const [connection] = relay.connections
    assert.equal(connection?.outcome, 'reset')
    const passed = connection?.cut?.way === 'to-server' ? connection.bytesToServer : connection?.bytesToClient
    assert.equal(passed, connection?.cut?.afterBytes)
    assert.equal(seen.clientError, 'ECONNRESET')
  })

  it('ends one direction early and lets the other go on', async () => {
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const { seen, relay } = await exchange({ end: { probability: 1, afterBytes: [5, 500] } }, seed)
      const cut = relay.connections[0]?.cut
      assert.equal(cut?.kind, 'end')
      assert.equal(seen.atServer.length, cut?.way === 'to-server' ? cut.afterBytes : REQUEST.length)
      assert.equal(seen.atClient.length, cut?.way === 'to-client' ? cut.afterBytes : ANSWER.length)
    }
  })

  it('a reset of one side reaches the other', async () => {
    const server = net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())).listen(0, HOST)
    await once(server, 'listening')
    await using relay = await FaultRelay.listen({ to: { ip: HOST, port: (server.address() as net.AddressInfo).port }, seed: 1, faults: {} })
    const client = net.connect(relay.port, HOST)
    client.write('x')
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
    assert.equal(error.code, 'ECONNRESET')
    assert.equal(relay.connections[0]?.outcome, 'broken')
    server.close()
  })

  it('repeats itself with the same seed', async () => {
    const faults: Faults = { reset: { probability: 0.5, afterBytes: [1, 9999] }, end: { probability: 0.5, afterBytes: [1, 9999] } }
    const planOf = async (seed: number): Promise<unknown> => (await exchange(faults, seed)).relay.connections[0]?.cut
    const plans = [await planOf(11), await planOf(11), await planOf(12), await planOf(13)]
    assert.deepEqual(plans[0], plans[1])
    assert.notDeepEqual(plans.slice(1, 3), plans.slice(2, 4))
  })
})

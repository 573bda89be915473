// The sequence-numbered pair and the fault relay: nothing is lost without faults; with faults the accounts name every loss.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { IpAddress } from '../../../../model/address.ts'
import { FaultRelay, type Faults } from '../../../support/fault-relay.ts'
import { runSeqClient, SeqClient } from '../../../support/seq-client.ts'
import { encodeFrame, FrameReader, payloadOf } from '../../../support/seq-frame.ts'
import { SeqServer } from '../../../support/seq-server.ts'

const HOST = '127.0.0.1' as IpAddress
const relayTo = (port: number, faults: Faults): Promise<FaultRelay> => FaultRelay.listen({ to: { ip: HOST, port }, seed: 1, faults })

describe('seq-client', () => {
  for (const mode of ['tcp', 'http'] as const) {
    for (const fresh of [false, true]) {
      it(`loses nothing over ${mode}, ${fresh ? 'a connection each' : 'kept connections'}`, async () => {
        await using server = new SeqServer()
        const { tcpPort, httpPort } = await server.listen({ tcpPort: 0, httpPort: 0, host: HOST })
        const port = mode === 'tcp' ? tcpPort : httpPort
        const report = await runSeqClient({ host: HOST, port, mode, client: 3, rate: 200, connections: 4, fresh, payloadBytes: 5000 }, 0.5)
        assert.ok(report.sent >= 80 && report.sent <= 200, `${report.sent} requests in half a second`)
        assert.deepEqual(
          [report.answered, report.lost, report.duplicates, report.corrupted, report.connectionsBroken, report.connectionsOpened],
          [report.sent, 0, 0, 0, 0, fresh ? report.sent : 4],
        )
        assert.deepEqual(server.report().clients['3'], {
          distinct: report.sent,
          duplicates: 0,
          missing: 0,
          highest: report.sent - 1,
          corrupted: 0,
        })
        assert.deepEqual(server.report().peers, [HOST])
      })
    }

    it(`counts each request of a broken connection as lost, over ${mode}`, async () => {
      await using server = new SeqServer()
      const { tcpPort, httpPort } = await server.listen({ tcpPort: 0, httpPort: 0, host: HOST })
      await using relay = await relayTo(mode === 'tcp' ? tcpPort : httpPort, { reset: { probability: 0.5, afterBytes: [100, 2000] } })
      const report = await runSeqClient({ host: HOST, port: relay.port, mode, client: 1, rate: 300, connections: 5 }, 0.6)
      const resets = relay.connections.filter((each) => each.outcome === 'reset').length
      assert.ok(resets > 0 && report.lost > 0)
      assert.equal(report.answered + report.lost, report.sent)
      assert.equal(report.connectionsBroken, resets)
      assert.equal(report.corrupted, 0)
    })
  }

  it('tells damage from loss', async () => {
    await using server = new SeqServer()
    const { tcpPort } = await server.listen({ tcpPort: 0, host: HOST })
    const raw = net.connect(tcpPort, HOST)
    const payload = Buffer.from(payloadOf(9, 1, 50))
    payload[17] = (payload[17] ?? 0) ^ 1
    raw.write(
      Buffer.concat([
        encodeFrame({ client: 9, seq: 1, payload }),
        encodeFrame({ client: 9, seq: 1, payload }),
        Buffer.from('no frame at all!'),
      ]),
    )
    await once(raw.resume(), 'close')
    assert.deepEqual(server.report().clients['9'], { distinct: 1, duplicates: 1, missing: 1, highest: 1, corrupted: 2 })
    assert.equal(server.report().damaged, 1)
  })

  it('gives an unanswered request up in time, and names the code of a refused one', async () => {
    const silent = net.createServer(() => undefined).listen(0, HOST)
    await once(silent, 'listening')
    const { port } = silent.address() as net.AddressInfo
    const client = new SeqClient({ host: HOST, port, mode: 'tcp', client: 1, rate: 50, timeoutMs: 60 })
    await new Promise((resolve) => setTimeout(resolve, 150))
    const report = await client.stop()
    assert.equal(report.lost, report.sent)
    assert.deepEqual(Object.keys(report.errors), ['TIMEOUT'])
    silent.close()
    const refused = await runSeqClient({ host: HOST, port, mode: 'http', client: 1, rate: 50, fresh: true }, 0.1)
    assert.deepEqual(Object.keys(refused.errors), ['ECONNREFUSED'])
  })

  it('reads frames from any cut', () => {
    const frames = [0, 1, 5000, 3].map((bytes, seq) => ({ client: 7, seq, payload: payloadOf(7, seq, bytes) }))
    const stream = Buffer.concat(frames.map(encodeFrame))
    for (const size of [1, 15, 16, 17, 4000, stream.length]) {
      const reader = new FrameReader()
      const read = []
      for (let at = 0; at < stream.length; at += size) read.push(...reader.push(stream.subarray(at, at + size)))
      assert.deepEqual(read, frames)
      assert.equal(reader.isInsideFrame, false)
    }
  })
})

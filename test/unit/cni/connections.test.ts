// Which sockets count as connections that ztunnel carries.
import assert from 'node:assert/strict'
import { closeSync } from 'node:fs'
import net from 'node:net'
import { countCarried, countWaiting, parseSockets, socketInodes } from '../../../cni/connections.ts'
import type { IpAddress } from '../../../model/address.ts'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (local: string, remote: string, state: string, inode: number): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000\n`

describe('cni/connections', () => {
  it('reads connections of both tables and leaves listeners and orphans out', () => {
    const text =
      HEAD +
      row('0A01F40A:3A99', '0100000A:8000', '01', 11) +
      row('00000000:3A99', '00000000:0000', '0A', 12) +
      row('0A01F40A:3A99', '0100000A:8001', '06', 0) +
      row('0A01F40A:3A99', '0100000A:8002', '03', 0)
    const ends = (port: number) => ({ local: { ip: '10.244.1.10', port: 15_001 }, remote: { ip: '10.0.0.1', port } })
    assert.deepEqual(parseSockets(text), [
      { ...ends(32_768), inode: '11' },
      { ...ends(32_770), inode: '0' },
    ])
    const mapped = row('0000000000000000FFFF00000A01F40A:1F90', '0000000000000000FFFF00000100000A:8000', '08', 13)
    assert.equal(parseSockets(HEAD + mapped)[0]?.local.ip, '10.244.1.10')
    for (const noise of ['', 'x', `${HEAD}zz yy xx`, `${HEAD}   0: 0A01F40A 0100000A:8000 01`]) assert.deepEqual(parseSockets(noise), [])
  })

  it("counts the proxy's ends of app connections and nothing else", () => {
    const [pod, peer] = ['10.244.1.10', '10.244.2.7'] as IpAddress[] as [IpAddress, IpAddress]
    const socket = (local: [IpAddress, number], remote: [IpAddress, number], inode: string) => ({
      local: { ip: local[0], port: local[1] },
      remote: { ip: remote[0], port: remote[1] },
      inode,
    })
    const rows = [
      socket([pod, 15_001], [pod, 40_000], '1'), // captured connect
      socket([pod, 40_001], [peer, 15_008], '2'), // pooled HBONE
      socket([pod, 15_008], [peer, 40_002], '3'), // HBONE from a peer, maybe idle
      socket([peer, 40_003], [pod, 8080], '4'), // to the app, from the client's address
      socket(['127.0.0.1' as IpAddress, 40_004], ['127.0.0.1' as IpAddress, 8080], '5'), // to the app over loopback
      socket([pod, 8080], [peer, 40_003], '6'), // the app's own end
      socket([pod, 8080], [peer, 40_005], '7'), // plaintext that was steered to the proxy
      socket([pod, 8080], [peer, 40_006], '0'), // waits to be accepted
    ]
    assert.equal(countCarried(rows, new Set(['1', '2', '3', '4', '5', '7'])), 4)
    assert.equal(countCarried(rows, new Set()), 0)
    assert.equal(countCarried(rows, new Set(['2', '3'])), 0)
    assert.equal(countWaiting(rows), 1)
  })

  it('finds the sockets of a process; one that is gone has none', async () => {
    const before = socketInodes([process.pid]).size
    const server = net.createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    assert.equal(socketInodes([process.pid]).size, before + 1)
    server.close()
    assert.equal(socketInodes([2 ** 22 + 1]).size, 0)
    assert.throws(() => closeSync(-1))
  })
})

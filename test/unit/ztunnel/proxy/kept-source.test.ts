// Which ports are tried for a connection that keeps the client's address.
import assert from 'node:assert/strict'
import type { MeshError } from '../../../../kit/error.ts'
import { linuxFailure } from '../../../../linux/ffi.ts'
import type { IpAddress } from '../../../../model/address.ts'
import { connectFromKept } from '../../../../ztunnel/proxy/kept-source.ts'

const IP = '10.244.1.10' as IpAddress
const taken = (name: string): MeshError => linuxFailure('SYSCALL_FAILED', { call: 'bind', name })

describe('ztunnel/proxy/kept-source', () => {
  it('takes a port that no client is given by its kernel', () => {
    for (let i = 0; i < 1000; i++) assert.ok(connectFromKept(IP, ({ port }) => port) >= 61_000)
  })

  it('tries others when one is taken, at last whatever the kernel chooses', () => {
    const ports: number[] = []
    const last = connectFromKept(IP, ({ ip, port }) => {
      assert.equal(ip, IP)
      ports.push(port)
      if (port !== 0) throw taken(ports.length % 2 === 0 ? 'EADDRINUSE' : 'EADDRNOTAVAIL')
      return 'kernel'
    })
    assert.equal(last, 'kernel')
    assert.ok(ports.length > 8 && ports.every((port) => port < 32_768 || port > 60_999))
  })

  it('passes on every other failure at once', () => {
    let calls = 0
    const connect = (): never => {
      calls++
      throw taken('ENETUNREACH')
    }
    assert.throws(() => connectFromKept(IP, connect), { code: 'SYSCALL_FAILED' })
    assert.equal(calls, 1)
  })
})

// Look-ups against a name server on the loopback.
import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import dnsPacket, { type Answer } from 'dns-packet'
import { afterEach, describe, it } from 'mocha'
import { nameLookUp } from '../../../state/name-lookup.ts'
import { ip } from '../../support/mesh-values.ts'

type Say = (type: string) => { readonly answers: readonly Answer[]; readonly flags?: number } | undefined

const record = (type: 'A' | 'AAAA', data: string, ttl: number): Answer => ({ type, name: 'a.example', ttl, data })

describe('state/name-lookup', () => {
  let socket: Socket | undefined
  const server = async (say: Say): Promise<ReturnType<typeof nameLookUp>> => {
    const own = createSocket('udp4')
    socket = own
    own.on('message', (message, from) => {
      const { id, questions = [] } = dnsPacket.decode(message)
      const said = say(questions[0]?.type ?? '')
      if (said === undefined) return
      const reply = { type: 'response' as const, id: id ?? 0, questions, flags: said.flags ?? 0, answers: [...said.answers] }
      own.send(dnsPacket.encode(reply), from.port, from.address)
    })
    await new Promise<void>((resolve) => own.bind(0, '127.0.0.1', resolve))
    return nameLookUp([{ ip: ip('127.0.0.1'), port: own.address().port }])
  }
  afterEach(() => socket?.close())

  it('asks for both families; the shorter life counts', async () => {
    const lookUp = await server((type) => ({ answers: [type === 'A' ? record('A', '192.0.2.1', 60) : record('AAAA', '2001:db8::1', 7)] }))
    assert.deepEqual(await lookUp('a.example'), { addresses: ['192.0.2.1', '2001:db8::1'], ttlMs: 7000 })
  })

  it('one family only', async () => {
    const lookUp = await server((type) => ({ answers: type === 'A' ? [record('A', '192.0.2.1', 60)] : [] }))
    assert.deepEqual(await lookUp('a.example'), { addresses: ['192.0.2.1'], ttlMs: 60_000 })
  })

  it('a name that does not exist has no addresses', async () => {
    const lookUp = await server(() => ({ answers: [], flags: 3 }))
    assert.deepEqual(await lookUp('a.example'), { addresses: [], ttlMs: 5000 })
  })

  it('a server that fails has said nothing', async () => {
    const lookUp = await server(() => ({ answers: [], flags: 2 }))
    assert.equal(await lookUp('a.example'), undefined)
  })

  it('text that is no name is nobody’s fault', async () => {
    const lookUp = await server(() => ({ answers: [], flags: 2 }))
    assert.equal(await lookUp('a..example'), undefined)
  })
})

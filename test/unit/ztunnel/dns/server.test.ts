// The name server over real loopback sockets: what pods send, sound or not, and what comes back; a name server of the cluster
// that answers, is late, lies or is away.
import assert from 'node:assert/strict'
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import dnsPacket from 'dns-packet'
import type { DecodedPacket, Packet } from 'dns-packet'
import { systemClock } from '../../../../kit/clock.ts'
import type { Endpoint } from '../../../../model/address.ts'
import type { Workload } from '../../../../model/workload.ts'
import { DnsServer } from '../../../../ztunnel/dns/server.ts'
import { UpstreamDns } from '../../../../ztunnel/dns/upstream.ts'
import type { UpstreamSockets } from '../../../../ztunnel/dns/upstream.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { ip, serviceOf, workloadOf } from '../../../support/mesh-values.ts'

const LOOPBACK = ip('127.0.0.1')
const MANY = Array.from({ length: 100 }, (_, i) => `10.96.1.${i}`)
const SERVICES = [serviceOf('web', ['10.96.0.5']), serviceOf('many', MANY)]
const VIEW = { servicesWithHost: (host: string) => SERVICES.filter((one) => one.hostname === host), endpointsOf: () => [] }
const SERVFAIL = 'SERVFAIL'

/** A name server of the cluster; `answer` makes of a query the messages that it sends. */
class ClusterDns implements AsyncDisposable {
  readonly #udp = dgram.createSocket('udp4')
  readonly #tcp = net.createServer()
  readonly asked: DecodedPacket[] = []
  answer: (query: DecodedPacket, message: Buffer) => Buffer[] = (query) => [outside(query)]

  async start(): Promise<Endpoint> {
    this.#tcp.listen(0, '127.0.0.1')
    await once(this.#tcp, 'listening')
    const { port } = this.#tcp.address() as net.AddressInfo
    this.#udp.bind(port, '127.0.0.1')
    await once(this.#udp, 'listening')
    this.#udp.on('message', (message, from) => {
      for (const reply of this.#replies(message)) this.#udp.send(reply, from.port, from.address)
    })
    this.#tcp.on('connection', (socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('data', (chunk: Buffer) => {
        for (const reply of this.#replies(chunk.subarray(2))) socket.write(framed(reply))
      })
    })
    return { ip: LOOPBACK, port }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#udp.close()
    this.#tcp.close()
  }

  #replies(message: Buffer): Buffer[] {
    const query = dnsPacket.decode(message)
    this.asked.push(query)
    return this.answer(query, message)
  }
}

function outside(query: DecodedPacket, change: Partial<Packet> = {}): Buffer {
  const name = query.questions?.[0]?.name ?? ''
  return dnsPacket.encode({
    type: 'response',
    id: query.id ?? 0,
    questions: query.questions ?? [],
    answers: [{ type: 'A', name, ttl: 5, data: '192.0.2.1' }],
    ...change,
  })
}

function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message])
}

/** The server under test on loopback, and the ways to talk to it. */
class Lab implements AsyncDisposable {
  readonly cluster = new ClusterDns()
  readonly counted: string[] = []
  client: Workload | undefined = workloadOf('client', ['10.244.1.1'])
  #server: DnsServer | undefined
  readonly #socket = dgram.createSocket('udp4')
  #port = 0

  static async start(
    options: { mostPending?: number; clock?: FakeClock; sockets?: UpstreamSockets; servers?: Endpoint[] } = {},
  ): Promise<Lab> {
    const lab = new Lab()
    const server = await lab.cluster.start()
    const listener = net.createServer()
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    lab.#port = (listener.address() as net.AddressInfo).port
    const datagrams = dgram.createSocket('udp4')
    datagrams.bind(lab.#port, '127.0.0.1')
    await once(datagrams, 'listening')
    const { mostPending, sockets, servers = [server] } = options
    const clock = options.clock ?? systemClock
    const upstream = new UpstreamDns({
      servers,
      clock,
      ...(mostPending === undefined ? {} : { mostPending }),
      ...(sockets === undefined ? {} : { sockets }),
    })
    lab.#server = new DnsServer(
      {
        clusterDomain: 'cluster.local',
        random: () => 0,
        view: VIEW,
        upstream,
        clock,
        client: () => lab.client,
        onQuery: (what) => lab.counted.push(what),
      },
      { datagrams: [datagrams], listeners: [listener] },
    )
    lab.#socket.connect(lab.#port, '127.0.0.1')
    await once(lab.#socket, 'connect')
    return lab
  }

  /** Sends bytes over UDP; the next datagram, or undefined when none comes. */
  async raw(message: Buffer, waitMs = 1000): Promise<Buffer | undefined> {
    const answer = once(this.#socket, 'message', { signal: AbortSignal.timeout(waitMs) }) as Promise<[Buffer]>
    this.#socket.send(message)
    return answer.then(
      ([bytes]) => bytes,
      () => undefined,
    )
  }

  async ask(name: string, change: Partial<Packet> = {}): Promise<DecodedPacket> {
    const answer = await this.raw(queryOf(name, change), 5000)
    assert.ok(answer, 'no answer')
    return dnsPacket.decode(answer)
  }

  tcp(): net.Socket {
    return net.connect({ host: '127.0.0.1', port: this.#port })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server?.[Symbol.dispose]()
    this.#socket.close()
    await this.cluster[Symbol.asyncDispose]()
  }
}

function queryOf(name: string, change: Partial<Packet> = {}): Buffer {
  return dnsPacket.encode({ type: 'query', id: 4711, flags: dnsPacket.RECURSION_DESIRED, questions: [{ type: 'A', name }], ...change })
}

/** The library's types do not know it. */
const rcodeOf = (packet: DecodedPacket & { rcode?: string }): string | undefined => packet.rcode
const dataOf = (packet: DecodedPacket): unknown[] => (packet.answers ?? []).map((one) => ('data' in one ? one.data : undefined))

/** Reads framed answers from a connection until `count` came or it ended. */
async function readFramed(socket: net.Socket, count: number): Promise<DecodedPacket[]> {
  const found: DecodedPacket[] = []
  let received: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk])
    while (received.length >= 2 && received.length >= received.readUInt16BE(0) + 2) {
      const end = received.readUInt16BE(0) + 2
      found.push(dnsPacket.decode(received.subarray(2, end)))
      received = received.subarray(end)
    }
    if (found.length >= count) break
  }
  return found
}

describe('ztunnel/dns/server', () => {
  it('answers names of the mesh itself, authoritative, with the id and question of the query', async () => {
    await using lab = await Lab.start()
    const answer = await lab.ask('WeB.shop.svc.cluster.local')
    assert.deepEqual([answer.id, rcodeOf(answer), answer.flag_aa, answer.flag_ra, answer.flag_rd], [4711, 'NOERROR', true, true, true])
    assert.deepEqual(answer.questions?.[0]?.name, 'WeB.shop.svc.cluster.local')
    assert.deepEqual(
      answer.answers?.map((one) => ({ ...one })),
      [{ name: 'WeB.shop.svc.cluster.local', type: 'A', ttl: 30, class: 'IN', flush: false, data: '10.96.0.5' }],
    )
    const six = await lab.ask('web', { questions: [{ type: 'AAAA', name: 'web' }] })
    assert.deepEqual([rcodeOf(six), six.answers], ['NOERROR', []])
    assert.deepEqual([lab.counted, lab.cluster.asked.length], [['answered', 'answered'], 0])
  })

  it('passes everything else on, unchanged but for the id', async () => {
    await using lab = await Lab.start()
    assert.deepEqual(dataOf(await lab.ask('example.org')), ['192.0.2.1'])
    const srv = await lab.ask('web', { questions: [{ type: 'SRV', name: 'web' }] })
    assert.equal(srv.id, 4711)
    assert.deepEqual(
      lab.cluster.asked.map((one) => one.questions?.[0]?.type),
      ['A', 'SRV'],
    )
    assert.deepEqual(lab.counted, ['forwarded', 'forwarded'])
  })

  it('draws a fresh id and port for each query that it passes on', async () => {
    await using lab = await Lab.start()
    for (let i = 0; i < 12; i++) await lab.ask(`n${i}.example.org`)
    assert.ok(new Set(lab.cluster.asked.map((one) => one.id)).size > 8)
  })

  it('says SERVFAIL while the control plane has not described the pod', async () => {
    await using lab = await Lab.start()
    lab.client = undefined
    assert.equal(rcodeOf(await lab.ask('web')), SERVFAIL)
    assert.equal(rcodeOf(await lab.ask('example.org')), SERVFAIL)
    assert.equal(lab.cluster.asked.length, 0)
  })

  it("believes the cluster's name servers of its services meanwhile, and not that there is no such name", async () => {
    await using lab = await Lab.start()
    lab.client = undefined
    const known = await lab.ask('web.shop.svc.cluster.local')
    assert.equal(rcodeOf(known), 'NOERROR')
    assert.equal(known.answers?.length, 1)
    lab.cluster.answer = (query) => [outside(query, { flags: 3 })] // NXDOMAIN
    assert.equal(rcodeOf(await lab.ask('entry.shop.svc.cluster.local')), SERVFAIL)
    assert.equal(lab.cluster.asked.length, 2)
  })

  it('truncates what is too long for UDP, honours EDNS, and gives all of it over TCP', async () => {
    await using lab = await Lab.start()
    const name = 'many.shop.svc.cluster.local'
    const cut = await lab.ask(name)
    assert.deepEqual([cut.flag_tc, cut.answers?.length], [true, 0])
    const edns: Packet['additionals'] = [
      { type: 'OPT', name: '.', udpPayloadSize: 65_000, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] },
    ]
    const still = await lab.raw(queryOf(name, { additionals: edns }))
    assert.ok(still !== undefined && still.length <= 1232)
    assert.equal(dnsPacket.decode(still).additionals?.[0]?.type, 'OPT')
    const socket = lab.tcp()
    socket.write(framed(queryOf(name)))
    const [whole] = await readFramed(socket, 1)
    assert.equal(whole?.answers?.length, 100)
  })

  it('answers several queries on one TCP connection in order, also when they come in pieces', async () => {
    await using lab = await Lab.start()
    const socket = lab.tcp()
    const names = ['web', 'example.org', 'web.shop', 'example.net']
    const bytes = Buffer.concat(names.map((name) => framed(queryOf(name))))
    for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7))
    const answers = await readFramed(socket, names.length)
    assert.deepEqual(
      answers.map((one) => one.questions?.[0]?.name),
      names,
    )
    assert.deepEqual(answers.flatMap(dataOf), ['10.96.0.5', '192.0.2.1', '10.96.0.5', '192.0.2.1'])
  })

  it('ends TCP connections that announce impossible lengths, and more than 64 at once', async () => {
    await using lab = await Lab.start()
    for (const length of [0, 11, 4097, 65_535]) {
      const socket = lab.tcp()
      socket.write(Buffer.from([length >> 8, length & 255, 0]))
      await once(socket.resume(), 'close')
    }
    const open = Array.from({ length: 64 }, () => lab.tcp())
    await Promise.all(open.map((socket) => once(socket, 'connect')))
    await once(lab.tcp().resume(), 'close')
    for (const socket of open) socket.destroy()
  })

  it('tries the next server when one is away, and says SERVFAIL when all are', async () => {
    const away = { ip: LOOPBACK, port: 1 }
    await using dead = await Lab.start({ servers: [away, away] })
    assert.equal(rcodeOf(await dead.ask('example.org')), SERVFAIL)
    assert.deepEqual(dead.counted, ['forwarded', 'failed'])
    await using none = await Lab.start({ servers: [] })
    assert.equal(rcodeOf(await none.ask('example.org')), SERVFAIL)
    await using noRoute = await Lab.start({ servers: [{ ip: ip('255.255.255.255'), port: 53 }] }) // connect() fails at once
    assert.equal(rcodeOf(await noRoute.ask('example.org')), SERVFAIL)
  })

  it('believes no answer with another id or question, and waits for the right one', async () => {
    await using lab = await Lab.start()
    lab.cluster.answer = (query) => [
      outside(query, { id: ((query.id ?? 0) + 1) & 0xffff }),
      outside({ ...query, questions: [{ type: 'A', name: 'example.com' }] } as DecodedPacket),
      outside(query, { type: 'query' }),
      Buffer.alloc(5),
      outside(query, { answers: [{ type: 'A', name: 'example.org', ttl: 1, data: '192.0.2.9' }] }),
    ]
    assert.deepEqual(dataOf(await lab.ask('example.org')), ['192.0.2.9'])
  })

  it('gives up after two seconds, and holds at most so many open queries', async () => {
    const clock = new FakeClock()
    await using lab = await Lab.start({ clock, mostPending: 2 })
    lab.cluster.answer = () => []
    const open = [lab.raw(queryOf('a.example', { id: 1 }), 5000)]
    await until(() => lab.cluster.asked.length === 1)
    open.push(lab.raw(queryOf('b.example', { id: 2 }), 5000))
    await until(() => lab.cluster.asked.length === 2)
    await lab.raw(queryOf('c.example', { id: 3 })) // refused: also resolves the waiters of the other two
    assert.deepEqual(lab.counted, ['forwarded', 'forwarded', 'forwarded', 'failed'])
    await clock.advance(2000)
    await until(() => lab.counted.filter((what) => what === 'failed').length === 3)
    assert.equal(clock.pending, 0)
    await Promise.all(open)
  })

  it('makes its sockets to the cluster through the factory that it is given', async () => {
    const made: string[] = []
    const sockets: UpstreamSockets = {
      udp: () => {
        made.push('udp')
        return dgram.createSocket('udp4')
      },
      tcp: ({ ip: host, port }) => {
        made.push('tcp')
        return net.connect({ host, port })
      },
    }
    await using lab = await Lab.start({ sockets })
    await lab.ask('example.org')
    const socket = lab.tcp()
    socket.write(framed(queryOf('example.org')))
    await readFramed(socket, 1)
    assert.deepEqual(made, ['udp', 'tcp'])
  })

  it('survives an answer that comes when it is closed already', async () => {
    const lab = await Lab.start()
    lab.cluster.answer = () => []
    void lab.raw(queryOf('example.org'), 100)
    await until(() => lab.cluster.asked.length === 1)
    await lab[Symbol.asyncDispose]()
  })

  describe('refuses or ignores', () => {
    const name = Buffer.from('\x03web\x00', 'latin1')
    const tail = Buffer.from([0, 1, 0, 1])
    const header = (flags: number, counts = [1, 0, 0, 0]): Buffer => {
      const bytes = Buffer.alloc(12)
      for (const [i, value] of [7, flags, ...counts].entries()) bytes.writeUInt16BE(value, i * 2)
      return bytes
    }
    const cases: readonly (readonly [string, Buffer, string | undefined])[] = [
      ['nothing', Buffer.alloc(0), undefined],
      ['eleven bytes', Buffer.alloc(11), undefined],
      ['a response', Buffer.concat([header(0x8000), name, tail]), undefined],
      ['more than 4096 bytes', Buffer.concat([header(0), name, tail, Buffer.alloc(5000)]), undefined],
      ['no question', header(0, [0, 0, 0, 0]), 'FORMERR'],
      ['two questions', Buffer.concat([header(0, [2, 0, 0, 0]), name, tail, name, tail]), 'FORMERR'],
      ['a question that is cut off', Buffer.concat([header(0), name]), 'FORMERR'],
      ['a name without end', Buffer.concat([header(0), Buffer.from('\x03web')]), 'FORMERR'],
      ['a name that points at itself', Buffer.concat([header(0), Buffer.from([0xc0, 12]), tail]), 'FORMERR'],
      ['a label of 64 bytes', Buffer.concat([header(0), Buffer.from([64]), Buffer.alloc(64, 97), Buffer.from([0]), tail]), 'FORMERR'],
      [
        'a name of 256 bytes',
        Buffer.concat([
          header(0),
          ...Array.from({ length: 4 }, () => Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 97)])),
          Buffer.from([0]),
          tail,
        ]),
        'FORMERR',
      ],
      ['records that are announced and absent', Buffer.concat([header(0, [1, 9, 0, 0]), name, tail]), 'FORMERR'],
      ['an update', Buffer.concat([header(0x2800), name, tail]), 'NOTIMP'],
    ]
    for (const [what, message, rcode] of cases) {
      it(what, async () => {
        await using lab = await Lab.start()
        const answer = await lab.raw(message, rcode === undefined ? 60 : 1000)
        assert.equal(answer === undefined ? undefined : rcodeOf(dnsPacket.decode(answer)), rcode)
        assert.equal(rcodeOf(await lab.ask('web')), 'NOERROR') // still serving
      })
    }

    for (const [what, label] of [
      ['bytes that are no text', Buffer.alloc(60, 0xff)],
      ['a dot inside a label', Buffer.from('web.shop')],
      ['a NUL inside a label', Buffer.from('web\0')],
    ] as const) {
      it(`${what}: somebody else’s name, passed on and repeated byte for byte`, async () => {
        await using lab = await Lab.start()
        lab.cluster.answer = (_, message) => [Buffer.concat([message.subarray(0, 2), Buffer.from([0x81, 0x83]), message.subarray(4)])]
        const message = Buffer.concat([header(0x0100), Buffer.from([label.length]), label, Buffer.from([0]), tail])
        const answer = await lab.raw(message)
        assert.deepEqual(answer?.subarray(12), message.subarray(12))
        lab.client = undefined
        const failed = await lab.raw(message)
        assert.deepEqual(failed?.subarray(12), message.subarray(12))
        assert.equal((failed?.[3] ?? 0) & 15, 2)
      })
    }
  })
})

async function until(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isDone(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(isDone(), 'it did not happen')
}

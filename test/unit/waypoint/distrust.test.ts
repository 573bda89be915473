// A server that answers without having been asked: never is such an answer taken for that of another request.
import assert from 'node:assert/strict'
import net from 'node:net'
import { Distrust, DISTRUST_MS } from '../../../waypoint/distrust.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ip } from '../../support/mesh-values.ts'
import { podOf } from '../../support/waypoint-lab.ts'
import { WaypointWorld } from '../../support/waypoint-world.ts'

const UNASKED = 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nunasked!'
const endpoint = (pod: string, port = 8080) => {
  const to = { ip: ip('10.0.1.1'), port }
  return { uid: pod, to, workload: podOf(pod, to.ip, []), weight: 1, isReady: true, isTerminating: false }
}

/** Answers each request with its path, then says `UNASKED` when it is told to. */
class Talker {
  readonly server: net.Server
  connections = 0
  /** What happens after an answer. */
  after: (socket: net.Socket) => void = () => undefined

  constructor() {
    this.server = net.createServer((socket) => {
      this.connections++
      socket.on('error', () => undefined)
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const path = text.split(' ')[1] ?? ''
          text = text.slice(end + 4)
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${path.length}\r\n\r\n${path}`)
          this.after(socket)
        }
      })
    })
  }
}

describe('Distrust', () => {
  it('is about an endpoint, and ends', async () => {
    const clock = new FakeClock()
    const distrust = new Distrust(clock)
    distrust.note(endpoint('a'))
    assert.deepEqual(
      [endpoint('a'), endpoint('b'), endpoint('a', 1)].map((one) => distrust.has(one)),
      [true, false, false],
    )
    await clock.advance(DISTRUST_MS - 1)
    assert.equal(distrust.has(endpoint('a')), true)
    await clock.advance(1)
    assert.equal(distrust.has(endpoint('a')), false)
  })

  it('remembers a thousand', () => {
    const distrust = new Distrust(new FakeClock())
    for (let n = 0; n <= 1000; n++) distrust.note(endpoint(`a${n}`))
    assert.deepEqual(
      [endpoint('a0'), endpoint('a1'), endpoint('a1000')].map((one) => distrust.has(one)),
      [false, true, true],
    )
  })
})

describe('answers that nobody asked for', function () {
  this.timeout('20s')

  for (const isPlain of [true, false])
    it(`end their connection, and the endpoint's are used once each: ${isPlain ? 'plaintext' : 'HBONE'}`, async () => {
      const talker = new Talker()
      await using world = await WaypointWorld.start({ app: talker.server, isPlain })
      const ask = async (path: string): Promise<string> => (await world.request(path)).text
      assert.deepEqual([await ask('/a'), await ask('/b'), talker.connections], ['/a', '/b', 1])
      const ended = new Promise<void>((resolve) => {
        talker.after = (socket) => {
          socket.once('close', () => resolve())
          setTimeout(() => socket.write(UNASKED), 5) // the connection is idle by then
        }
      })
      assert.equal(await ask('/c'), '/c')
      await ended
      let served = 0
      talker.after = (socket) => {
        if (served++ % 2 === 0) setImmediate(() => socket.write(UNASKED)) // as the next request comes
      }
      const before = talker.connections
      const answers: string[] = []
      for (let n = 0; n < 40; n++) answers.push(await ask(`/${n}`))
      assert.deepEqual(
        answers,
        Array.from(answers.keys(), (n) => `/${n}`),
      )
      assert.equal(talker.connections - before, answers.length)
    })
})

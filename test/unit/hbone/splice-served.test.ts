// A server that ends its half and then resets the stream with NO_ERROR (Go's and Envoy's way of saying "I have said all and read no
// more"): all that it said reaches the app, whatever the app still sends.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { connectHbone } from '../../../hbone/client.ts'
import { duplexOf } from '../../../hbone/duplex.ts'
import { H2Error as E } from '../../../hbone/errors.ts'
import { FrameType as T } from '../../../hbone/frame.ts'
import { adoptAccepted } from '../../../hbone/plain-socket.ts'
import { type SpliceEnd, spliceTunnel } from '../../../hbone/splice.ts'
import type { HboneTunnel } from '../../../hbone/tunnel.ts'
import { attackedPair, closeAttacked } from '../../support/h2-victim.ts'
import { data, headers, RawPeer, repeat, settings, word } from '../../support/raw-h2.ts'
import { tcpPair } from '../../support/tls-pair.ts'

const FRAMES = 12
const SAID = FRAMES * 65_536
const WINDOW = 4

describe('hbone/splice: a server that has said all', function () {
  this.timeout(10_000)
  afterEach(closeAttacked)

  /** A tunnel to a server that lets us send few bytes; `finish` makes it say all. */
  async function served(initialWindow: number): Promise<{ tunnel: HboneTunnel; finish: () => void }> {
    const pair = await attackedPair()
    const client = connectHbone(pair.client)
    const peer = new RawPeer(pair.server)
    peer.send(settings(WINDOW, initialWindow), headers(1, [[':status', '200']]))
    const tunnel = await client.open({ authority: '10.0.0.2:80' })
    const finish = (): void => {
      peer.send(repeat(data(1, 65_536), FRAMES), data(1, 0, 1), word(T.rstStream, 1, E.noError))
    }
    return { tunnel, finish }
  }

  async function spliced(initialWindow: number): Promise<{ app: net.Socket; finish: () => void; end: Promise<SpliceEnd> }> {
    const { tunnel, finish } = await served(initialWindow)
    const { app, ours } = await tcpPair()
    return { app, finish, end: spliceTunnel(tunnel, adoptAccepted(ours), { fromTunnel: 0, toTunnel: 0 }) }
  }

  async function readAll(app: net.Socket): Promise<number> {
    let bytes = 0
    app.on('data', (chunk) => {
      bytes += chunk.length
    })
    await once(app, 'end')
    return bytes
  }

  it('is heard to its end by an app that ends afterwards', async () => {
    const { app, finish, end } = await spliced(65_535)
    finish()
    assert.equal(await readAll(app), SAID)
    app.end()
    assert.deepEqual(await end, { by: 'both', error: undefined })
  })

  it('is heard to its end by an app whose bytes wait for a window, and that is not left waiting', async () => {
    const { app, finish, end } = await spliced(0)
    app.end(Buffer.alloc(300_000))
    finish()
    assert.equal(await readAll(app), SAID)
    assert.deepEqual(await end, { by: 'both', error: undefined })
  })

  it('resets an app that goes on sending for long after it has heard all', async () => {
    const { app, finish, end } = await spliced(65_535)
    finish()
    assert.equal(await readAll(app), SAID)
    const failed = once(app, 'error')
    const more = setInterval(() => app.write(Buffer.alloc(1024 * 1024)), 1)
    assert.deepEqual(await end, { by: 'tunnel', error: undefined })
    assert.match(String((await failed)[0]), /ECONNRESET|EPIPE/)
    clearInterval(more)
  })

  it('does not leave the writer of a Duplex waiting', async () => {
    const { tunnel, finish } = await served(0)
    const duplex = duplexOf(tunnel)
    const written = new Promise((resolve) => duplex.write(Buffer.alloc(300_000), resolve))
    finish()
    let bytes = 0
    for await (const chunk of duplex.iterator({ destroyOnReturn: false })) bytes += (chunk as Buffer).length
    assert.equal(bytes, SAID)
    await written
    duplex.destroy()
  })
})

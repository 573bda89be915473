// Istio's Go implementation of HBONE against ours: its dialer at the door of a real ztunnel, our client and pool at its server.
import assert from 'node:assert/strict'
import { serveApps, digest, echo, GREETING, greeted, pattern, summary, type AppPorts } from '../support/interop-apps.ts'
import { InteropClient } from '../support/interop-client.ts'
import { certificateFiles, IDS, InteropDoor } from '../support/interop-door.ts'
import { buildGoPeer, GoPeer } from '../support/interop-go.ts'
import { TestCa } from '../support/test-ca.ts'

const KIB = 1024
const MIB = 1024 * KIB
const SIZES = [1, 16_384, 65_537, 1 * MIB, 64 * MIB]

describe('Istio’s Go implementation of HBONE', function () {
  this.timeout('60s')
  let program: string

  before(function () {
    this.timeout('900s')
    program = buildGoPeer()
  })

  describe('as client of our ztunnel', () => {
    let door: InteropDoor
    let files: Awaited<ReturnType<typeof certificateFiles>>
    let client: GoPeer

    before(async () => {
      door = await InteropDoor.start(`wig${process.pid}`)
      files = await certificateFiles(door.ca, IDS.client)
      client = await GoPeer.start(program, 'client', files.directory, IDS.server, door.outside.path)
    })
    after(async () => {
      await client?.[Symbol.asyncDispose]()
      files?.[Symbol.dispose]()
      await door?.[Symbol.asyncDispose]()
    })

    for (const bytes of SIZES) {
      it(`echoes ${bytes} bytes`, async () => {
        await client.ask({ op: 'echo', proxy: door.address, authority: door.authority('echo'), bytes, streams: 1 })
      })
    }

    it('carries 100 tunnels at once on one connection', async () => {
      const handshakes = await client.ask<number>({
        op: 'echo',
        proxy: door.address,
        authority: door.authority('echo'),
        bytes: 200_000,
        streams: 100,
      })
      assert.equal(handshakes, 1)
    })

    it('is answered after its end, and reads an app that ends first', async () => {
      const ask = { proxy: door.address, bytes: 3 * MIB }
      const { sent, answer } = await client.ask<{ sent: string; answer: string }>({
        op: 'digest',
        authority: door.authority('digest'),
        ...ask,
      })
      assert.equal(answer, sent)
      assert.equal(await client.ask({ op: 'read', authority: door.authority('greet'), ...ask }), GREETING)
    })

    it('may send baggage, traceparent and forwarded', async () => {
      const from = door.ztunnel.lines.length
      const headers = {
        baggage: 'k8s.pod.name=visitor,k8s.namespace.name=shop',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        forwarded: 'for="10.0.0.1:4711"',
      }
      const ask = { proxy: door.address, authority: door.authority('echo'), headers }
      assert.equal((await client.ask<{ status: number }>({ op: 'connect', ...ask })).status, 200)
      await door.ztunnel.line((each) => each['src.identity'] === IDS.client, from)
    })

    for (const { name, authority, method = 'CONNECT', want } of [
      { name: 'another address', authority: '10.77.0.99:8080', want: 400 },
      { name: 'another method', authority: '10.77.0.2:8080', method: 'GET', want: 400 },
      { name: 'a port where nothing listens', authority: '10.77.0.2:9', want: 503 },
    ]) {
      it(`sees ${want} for ${name}`, async () => {
        const { status } = await client.ask<{ status: number }>({ op: 'connect', proxy: door.address, authority, method })
        assert.equal(status, want)
        if (method === 'CONNECT')
          await assert.rejects(client.ask({ op: 'read', proxy: door.address, authority }), new RegExp(`round trip failed: ${want}`))
      })
    }

    it('sees 401 as an identity that a policy denies', async () => {
      using denied = await certificateFiles(door.ca, IDS.denied)
      await using other = await GoPeer.start(program, 'client', denied.directory, IDS.server, door.outside.path)
      const ask = { proxy: door.address, authority: door.authority('echo') }
      assert.equal((await other.ask<{ status: number }>({ op: 'connect', ...ask })).status, 401)
      await assert.rejects(other.ask({ op: 'read', ...ask }), /round trip failed: 401/)
    })
  })

  describe('as server of our client', () => {
    let ca: TestCa
    let apps: { readonly ports: AppPorts; close(): void }
    let files: Awaited<ReturnType<typeof certificateFiles>>
    let server: GoPeer
    let client: InteropClient
    const at = (app: keyof AppPorts): string => `127.0.0.1:${apps.ports[app]}`
    const port = (): number => Number(server.address.split(':')[1])

    before(async () => {
      ca = await TestCa.start()
      apps = await serveApps({ echo: 0, digest: 0, greet: 0 })
      files = await certificateFiles(ca, IDS.server)
      server = await GoPeer.start(program, 'server', files.directory, IDS.client)
      client = await InteropClient.start(ca, port(), IDS)
    })
    after(async () => {
      await client?.[Symbol.asyncDispose]()
      await server?.[Symbol.asyncDispose]()
      files?.[Symbol.dispose]()
      apps?.close()
      await ca?.[Symbol.asyncDispose]()
    })

    for (const bytes of SIZES) {
      it(`echoes ${bytes} bytes`, async () => {
        assert.equal(await echo(await client.open(at('echo')), bytes), summary(pattern(bytes)))
      })
    }

    it('carries 100 tunnels at once on one connection', async () => {
      const sockets = await Promise.all(Array.from({ length: 100 }, () => client.open(at('echo'))))
      const came = await Promise.all(sockets.map((socket, seed) => echo(socket, 200_000, seed)))
      for (const [seed, text] of came.entries()) assert.equal(text, summary(pattern(200_000, seed)))
      assert.equal(client.connections.length, 1)
    })

    it('answers after our end, and its app may end first', async () => {
      assert.equal(await digest(await client.open(at('digest')), 3 * MIB), summary(pattern(3 * MIB)))
      for (let n = 0; n < 20; n++) assert.equal(await greeted(await client.open(at('greet'))), GREETING)
    })

    it('gets baggage, forwarded and traceparent as we sent them', async () => {
      const headers = {
        baggage: 'k8s.pod.name=visitor,k8s.namespace.name=shop',
        forwarded: 'for="10.0.0.1:4711"',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      }
      const tunnel = await client.tunnel(at('echo'), headers)
      const { baggage, forwarded, traceparent } = tunnel.responseHeaders
      assert.deepEqual({ baggage, forwarded, traceparent }, headers)
      tunnel.reset()
    })

    for (const status of ['400', '401', '503']) {
      it(`refuses with ${status}`, async () => {
        await assert.rejects(client.tunnel(at('echo'), { extra: { 'x-refuse': status } }), (error: { code: string; detail: object }) => {
          assert.equal(error.code, 'CONNECT_REFUSED')
          assert.deepEqual(error.detail, { status: Number(status) })
          return true
        })
      })
    }

    it('ends a tunnel to a closed port without a byte', async () => {
      assert.equal(await greeted(await client.open('127.0.0.1:9')), summary([])) // it has sent its 200 before it dials
    })

    it('is still on its first connection, and says GOAWAY when it stops: what runs is finished', async () => {
      const running = await client.open(at('echo'))
      const stopped = server.ask({ op: 'shutdown' })
      assert.equal(await echo(running, 1 * MIB), summary(pattern(1 * MIB)))
      await stopped
      await client.connections[0]?.closed
      assert.deepEqual([client.connections.length, client.failures], [1, []])
    })
  })
})

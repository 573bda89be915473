// A running mesh refuses who is not who it should be: at a pod's door (15008), in each CONNECT, and at the certificate service.
// Beside every refusal stands the peer that is admitted.
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import type tls from 'node:tls'
import { SignJWT } from 'jose'
import { parseWorkloadId } from '../../certs/spiffe.ts'
import { CLIENT_PREFACE } from '../../hbone/frame.ts'
import type { HeaderField } from '../../hbone/hpack-table.ts'
import { systemClock } from '../../kit/clock.ts'
import { NETNS_DIR } from '../../runtime/layout.ts'
import { CaClient } from '../../identity/ca-client.ts'
import { BAD_SVIDS } from '../support/bad-svids.ts'
import { credentialsOf, idOf, newCa, newLeaf, newSigner, workloadCredentials } from '../support/certificates.ts'
import type { Credentials, Signer } from '../support/certificates.ts'
import { deployment, type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'
import {
  dialTcp,
  dialTls,
  get,
  type Dial,
  type LogLine,
  logLine,
  logLines,
  meshCredentials,
  meshSigner,
  metric,
  nodeNetns,
  tryConnect,
} from '../support/mesh-view.ts'
import { headers, RawPeer, settings } from '../support/raw-h2.ts'

const SERVER = `require('node:http').createServer((request, response) => response.end('hello')).listen(8080, '::')`
const sleeper = ['sleep', 'infinity']
const namespace = (name: string, labels: object = {}): object => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
const account = (name: string): object => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'shop' } })
const onNode = (index: number, serviceAccountName = 'default'): object => ({ pod: { nodeName: `node-${index}`, serviceAccountName } })
const readinessProbe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 }
const OBJECTS = [
  namespace('shop', { 'istio.io/dataplane-mode': 'ambient' }),
  namespace('outside'),
  account('client'),
  account('server'),
  deployment('shop', 'server', ['node', '-e', SERVER], { ...onNode(1, 'server'), container: { readinessProbe } }),
  deployment('shop', 'client', sleeper, onNode(2, 'client')),
  deployment('outside', 'attacker', sleeper, onNode(2)),
]

describe('refusals of a running mesh', () => {
  let mesh: TestMesh
  let server: TestPod
  let attacker: TestPod
  let good: Credentials
  let root: Signer
  let door: Dial
  const log = (): readonly LogLine[] => logLines(mesh, 'ztunnel-node-1')
  const refused = (code: string): Promise<number> => metric(mesh, 1, 15_020, 'weft_refused_total', { direction: 'inbound', code })

  before(async () => {
    mesh = await testMesh({ nodes: 2, objects: OBJECTS, componentArgs: { ztunnel: ['--handshake-timeout', '2s'] } })
    server = await mesh.pod('shop/server')
    attacker = await mesh.pod('outside/attacker')
    door = { from: attacker.netnsPath, ip: server.ip }
    good = await meshCredentials(mesh, idOf('client'))
    root = await meshSigner(mesh)
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  /** Dials; the refusal must be in the log with this code, and counted once. */
  const isRefused = async (options: tls.ConnectionOptions, code: string, reason: RegExp): Promise<void> => {
    const [from, before] = [log().length, await refused(code)]
    assert.notEqual(await tryConnect(door, options, `${server.ip}:8080`), '200')
    const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each.code === code)
    assert.match(String(line.error), reason)
    assert.match(String(line['src.addr']), new RegExp(`^${attacker.ip.replaceAll('.', '\\.')}:`))
    assert.equal(await refused(code), before + 1)
  }

  it('admits a peer of the mesh', async () => {
    for (const ip of [server.ip, server.ip6]) {
      const authority = ip.includes(':') ? `[${ip}]:8080` : `${ip}:8080`
      assert.equal(await tryConnect({ ...door, ip }, good, authority), '200')
    }
  })

  it('refuses a peer without a certificate, and plaintext on the door', async () => {
    await isRefused({}, 'PEER_REFUSED', /no certificate/)
    const from = log().length
    const socket = dialTcp(door)
    socket.on('error', () => undefined).end('CONNECT 10.0.0.1:80 HTTP/1.1\r\n\r\n')
    await new Promise((resolve) => socket.resume().once('close', resolve))
    await logLine(mesh, 'ztunnel-node-1', from, (each) => each.code === 'HANDSHAKE_FAILED')
  })

  it('refuses another root, another root with our name, and another trust domain below our root', async () => {
    const foreign = await workloadCredentials(await newCa('other.example'), idOf('client', 'other.example'))
    await isRefused(foreign, 'PEER_REFUSED', /OpenSSL/)
    await isRefused(await workloadCredentials(await newCa(), idOf('client')), 'PEER_REFUSED', /OpenSSL/)
    const alike = await newSigner({ name: root.certificate.subject.replace(/^CN=/, '') })
    await isRefused(await credentialsOf(await newLeaf(alike)), 'PEER_REFUSED', /OpenSSL/)
    const wrong = await newLeaf(root, { uris: [idOf('client', 'other.example')] })
    await isRefused(await credentialsOf(wrong), 'PEER_REFUSED', /vouched for|trust domain/)
  })

  it('refuses an old TLS, and a peer that does not speak HTTP/2', async () => {
    await isRefused({ ...good, maxVersion: 'TLSv1.2' }, 'HANDSHAKE_FAILED', /protocol/)
    await isRefused({ ...good, ALPNProtocols: [] }, 'ALPN_MISSING', /HTTP\/2/)
  })

  it(`refuses ${BAD_SVIDS.length} certificates of the mesh's own authority that are no SVIDs`, async () => {
    assert.ok(BAD_SVIDS.length >= 40)
    assert.equal(await tryConnect(door, await credentialsOf(await newLeaf(root)), `${server.ip}:8080`), '200', 'the same without a fault')
    const before = await refused('PEER_REFUSED')
    const from = log().length
    for (const { name, leaf } of BAD_SVIDS) {
      const credentials = await credentialsOf(await newLeaf(root, leaf))
      assert.notEqual(await tryConnect(door, credentials, `${server.ip}:8080`), '200', name)
    }
    const lines = await mesh.until('all are logged', () => {
      const found = log()
        .slice(from)
        .filter((line) => line.code === 'PEER_REFUSED')
      return found.length === BAD_SVIDS.length && found
    })
    assert.equal(await refused('PEER_REFUSED'), before + BAD_SVIDS.length)
    // Most break a rule that OpenSSL does not know: those rules are ours.
    assert.ok(lines.filter((line) => !String(line.error).includes('OpenSSL')).length >= 40, lines.map((line) => line.error).join('\n'))
  })

  describe('in a CONNECT', () => {
    const rows: readonly (readonly [name: string, authority: () => string, status: string, code: string])[] = [
      ["an address that is nobody's", () => '10.244.1.250:8080', '400', 'WRONG_AUTHORITY'],
      ['the address of another pod', () => `${attacker.ip}:8080`, '400', 'WRONG_AUTHORITY'],
      ["the pod's other address", () => `[${server.ip6}]:8080`, '400', 'WRONG_AUTHORITY'],
      ['the node', () => `${mesh.node(1).ip.v4}:15020`, '400', 'WRONG_AUTHORITY'],
      ['loopback', () => '127.0.0.1:8080', '400', 'WRONG_AUTHORITY'],
      ['loopback, mapped', () => '[::ffff:127.0.0.1]:8080', '400', 'WRONG_AUTHORITY'],
      ['any address', () => '0.0.0.0:8080', '400', 'WRONG_AUTHORITY'],
      ['port 15001', () => `${server.ip}:15001`, '503', 'SELF_CALL'],
      ['port 15006', () => `${server.ip}:15006`, '503', 'SELF_CALL'],
      ['port 15008', () => `${server.ip}:15008`, '503', 'SELF_CALL'],
      ['port 15053', () => `${server.ip}:15053`, '503', 'SELF_CALL'],
      ['a host that it does not serve', () => 'other.shop.svc.cluster.local:80', '503', 'UNKNOWN_HOST'],
      ['a port where nothing listens', () => `${server.ip}:8081`, '503', 'DIAL_FAILED'],
    ]
    for (const [name, authority, status, code] of rows) {
      it(`refuses ${name}: ${status} ${code}`, async () => {
        const [from, before] = [log().length, await refused(code)]
        assert.equal(await tryConnect(door, good, authority()), status)
        const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each.code === code)
        assert.ok(String(line['src.addr']).startsWith(`${attacker.ip}:`))
        if (code !== 'DIAL_FAILED') assert.equal(await refused(code), before + 1)
      })
    }

    /** Sends one head as it is. @returns status, or `reset` */
    const ask = async (fields: readonly HeaderField[], flags = 0): Promise<string> => {
      const peer = new RawPeer(await dialTls(door, good))
      peer.send(CLIENT_PREFACE, settings(), headers(1, fields, flags))
      const answer = await peer.answer(1)
      peer.socket.destroy()
      return answer
    }
    const head = (authority: string, method = 'CONNECT'): HeaderField[] => [
      [':method', method],
      [':authority', authority],
    ]
    const own = (): string => `${server.ip}:8080`

    it('gives 200 to a good head sent the same way', async () => {
      assert.equal(await ask(head(own())), '200')
    })

    const heads: readonly (readonly [name: string, fields: () => HeaderField[], want: string])[] = [
      ...['GET', 'POST', 'OPTIONS', 'connect'].map((method): [string, () => HeaderField[], string] => [
        method,
        () => [...head(own(), method), [':scheme', 'https'], [':path', '/']],
        '400',
      ]),
      ['extended CONNECT', () => [...head(own()), [':protocol', 'websocket'], [':scheme', 'https'], [':path', '/']], 'reset'],
      ['CONNECT with a path', () => [...head(own()), [':path', '/']], 'reset'],
      ['two authorities', () => [...head(own()), [':authority', own()]], 'reset'],
      ['another host header', () => [...head(own()), ['host', '10.0.0.1:80']], '400'],
      ...[
        '',
        '10.244.1.2',
        ':8080',
        '10.244.1.2:0',
        '10.244.1.2:65536',
        'x@10.244.1.2:8080',
        '10.244.1.2:8080/x',
        '10.244.1:8080',
        '[::1:8080',
      ].map((text): [string, () => HeaderField[], string] => [`authority ${JSON.stringify(text)}`, () => head(text), '400']),
    ]
    for (const [name, fields, want] of heads) {
      it(`refuses ${name}: ${want}`, async () => {
        const [from, before] = [log().length, await refused('BAD_AUTHORITY')]
        assert.equal(await ask(fields()), want)
        await logLine(mesh, 'ztunnel-node-1', from, (line) => line.code === 'BAD_AUTHORITY')
        assert.equal(await refused('BAD_AUTHORITY'), before + 1)
      })
    }

    it('answers 401 to whom a policy denies, with log line, counter and flag; 200 before and after', async () => {
      const rules = [{ from: [{ source: { principals: ['cluster.local/ns/shop/sa/client'] } }] }]
      const policy = { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { name: 'no-client', namespace: 'shop' } }
      const failed = (): Promise<number> =>
        metric(mesh, 1, 15_020, 'istio_tcp_connections_failed_total', { reporter: 'destination', response_flags: 'DENY' })
      const from = log().length
      assert.equal(await tryConnect(door, good, own()), '200')
      assert.equal(await failed(), 0)
      await mesh.apply({ ...policy, spec: { action: 'DENY', rules } })
      await mesh.until('it is denied', async () => (await tryConnect(door, good, own())) === '401')
      const line = await logLine(mesh, 'ztunnel-node-1', from, (each) => each.code === 'POLICY_DENIED')
      assert.match(String(line.error), /explicitly denied by: shop\/no-client/)
      assert.equal(line['src.identity'], idOf('client'))
      assert.ok((await refused('POLICY_DENIED')) >= 1 && (await failed()) >= 1)
      assert.equal(await tryConnect(door, await meshCredentials(mesh, idOf('server')), own()), '200', 'another identity passes')
      await mesh.client.delete('authorizationpolicies', 'shop', 'no-client')
      await mesh.until('it passes again', async () => (await tryConnect(door, good, own())) === '200')
    })
  })

  describe('of certificates', () => {
    const NODE_1 = 'spiffe://cluster.local/ns/shop/sa/server'
    let relay: net.Server
    let podOf: (name: string) => { name: string; uid: string }
    before(async () => {
      relay = net.createServer((socket) => {
        const far = dialTcp({ from: nodeNetns(mesh, 1), ip: mesh.mesh.layout.controlIp.v4, port: 15_012 })
        for (const each of [socket, far]) each.on('error', () => undefined)
        socket.pipe(far).pipe(socket)
      })
      await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
      podOf = (name) => ({ name, uid: mesh.mesh.store.get('pods', 'weft-system', name).metadata.uid ?? '' })
    })
    after(() => relay?.close())

    const tokenOf = (index: number): string => readFileSync(join(mesh.node(index).dir, 'token'), 'utf8')
    /** The token of node 1 with other claims, signed by the mesh's own key (or another). */
    const forged = (change: object, key?: KeyObject): Promise<string> => {
      const claims = JSON.parse(Buffer.from(tokenOf(1).split('.')[1] ?? '', 'base64url').toString()) as object
      const mine = createPrivateKey(readFileSync(join(mesh.mesh.layout.dir, 'keys', 'token-signing.pem')))
      return new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: 'ES256', typ: 'JWT' }).sign(key ?? mine)
    }
    /** @returns `issued`, or the code; gRPC's status as it came. */
    const ask = async (token: string, id: string): Promise<string> => {
      const identity = parseWorkloadId(id)
      assert.ok(identity.ok)
      const { port } = relay.address() as net.AddressInfo
      const client = new CaClient({
        address: `127.0.0.1:${port}`,
        serverName: 'istiod.istio-system.svc',
        roots: () => readFileSync(join(mesh.mesh.layout.dir, 'root-cert.pem')),
        token: () => token,
        clusterId: 'Kubernetes',
        clock: systemClock,
        ttlMs: 0,
      })
      try {
        return (await client.fetch(identity.value)).id === id ? 'issued' : 'another identity'
      } catch (error) {
        return String((error as Error & { cause?: { details?: string } }).cause?.details ?? error)
      } finally {
        client.close()
      }
    }
    const now = (): number => Math.floor(Date.now() / 1000)
    const system = { namespace: 'weft-system', serviceAccount: 'ztunnel' }
    const issue = async (request: Parameters<TestMesh['mesh']['tokens']['issue']>[0]): Promise<string> =>
      (await mesh.mesh.tokens.issue(request)).token

    it('issues what runs on the node of the caller', async () => {
      assert.equal(await ask(tokenOf(1), NODE_1), 'issued')
      assert.equal(await ask(tokenOf(2), idOf('client')), 'issued')
      assert.equal(await ask(await forged({}), NODE_1), 'issued', 'the forged tokens below differ in what they say only')
    })

    const rows: readonly (readonly [name: string, token: () => string | Promise<string>, id: string, reason: RegExp])[] = [
      ['an identity of another node', () => tokenOf(1), idOf('client'), /no pod of the identity runs on node node-1/],
      ["another node's token", () => tokenOf(2), NODE_1, /no pod of the identity runs on node node-2/],
      ['an identity that nobody has', () => tokenOf(1), idOf('nobody'), /no pod of the identity/],
      ['an identity of another trust domain', () => tokenOf(1), idOf('server', 'other.example'), /another trust domain/],
      ['no token', () => '', NODE_1, /token/],
      ['a token that is none', () => 'x.y.z', NODE_1, /token is not good/],
      ['a changed token', () => tokenOf(1).replace(/.(?=\.[^.]*$)/, (last) => (last === 'A' ? 'B' : 'A')), NODE_1, /token is not good/],
      ['a cut signature', () => tokenOf(1).slice(0, -8), NODE_1, /token is not good/],
      ['alg none', () => `${b64({ alg: 'none' })}.${tokenOf(1).split('.')[1]}.`, NODE_1, /token is not good/],
      ['an expired token', () => forged({ exp: now() - 5 }), NODE_1, /"exp" claim/],
      ['a token without an end', () => forged({ exp: undefined }), NODE_1, /"exp" claim/],
      ['a token that begins later', () => forged({ nbf: now() + 600 }), NODE_1, /"nbf" claim/],
      ['a token for somebody else', () => forged({ aud: ['api'] }), NODE_1, /"aud" claim/],
      ['a token of another issuer', () => forged({ iss: 'https://other.example' }), NODE_1, /"iss" claim/],
      ['a token of another key', () => forged({}, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey), NODE_1, /signature/],
      [
        "an app's token",
        () => issue({ namespace: 'shop', serviceAccount: 'server', audiences: ['istio-ca'] }),
        NODE_1,
        /not a trusted node/,
      ],
      ['a token of no pod', () => issue({ ...system, audiences: ['istio-ca'] }), NODE_1, /not bound to a pod/],
      ['a token of a pod that is gone', () => forged({ 'kubernetes.io': bound('gone', 'x') }), NODE_1, /deleted|not exist/],
      ['a token of an earlier pod of that name', () => forged({ 'kubernetes.io': bound('ztunnel-node-1', 'x') }), NODE_1, /deleted|UID/],
      [
        'a token that names another node',
        () => forged({ 'kubernetes.io': bound('ztunnel-node-1', undefined, 'node-2') }),
        NODE_1,
        /another node/,
      ],
    ]
    const b64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const bound = (pod: string, uid?: string, node = 'node-1'): object => ({
      namespace: 'weft-system',
      serviceaccount: { name: 'ztunnel', uid: mesh.mesh.store.get('serviceaccounts', 'weft-system', 'ztunnel').metadata.uid },
      pod: uid === undefined ? podOf(pod) : { name: pod, uid },
      node: { name: node },
    })
    for (const [name, token, id, reason] of rows) {
      it(`refuses ${name}`, async () => {
        const from = logLines(mesh, 'controlplane').length
        // The caller learns nothing; the audit log says why.
        assert.equal(await ask(await token(), id), 'request authenticate failure')
        const line = await logLine(mesh, 'controlplane', from, (each) => each.message === 'certificate refused')
        assert.match(String(line.reason), reason)
      })
    }

    it('counts them, and stops to issue when the last pod of an identity leaves the node', async () => {
      const control = join(NETNS_DIR, mesh.mesh.layout.controlNetns)
      const text = await get({ from: control, ip: '127.0.0.1', port: 15_014 }, '/metrics')
      const count = (result: string): number => Number(new RegExp(`certificates_total\\{result="${result}"\\} (\\d+)`).exec(text)?.[1])
      assert.equal(count('refused'), rows.length)
      await mesh.client.delete('deployments', 'shop', 'server')
      await mesh.until('it is refused', async () => (await ask(tokenOf(1), NODE_1)) === 'request authenticate failure')
    })
  })
})

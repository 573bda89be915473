// Credentials of a pod and of a kubeconfig: read again when they change, said in one sentence when they cannot be had.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'mocha'
import { codeOf, messageOf } from '../../../../kit/error.ts'
import { connectionTo, readAccount, RenewedConnection } from '../../../../objects/kube/connection.ts'
import { clusterServer } from '../../../../objects/kube/settings.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { selfSigned } from '../../../support/self-signed.ts'

const CONFIG = (user: string): string => `apiVersion: v1
kind: Config
clusters: [{ name: c, cluster: { server: "https://127.0.0.1:1/", insecure-skip-tls-verify: true } }]
users: [{ name: u, user: ${user} }]
contexts: [{ name: x, context: { cluster: c, user: u } }, { name: broken, context: { cluster: none, user: u } }]
current-context: x
`

describe('objects/kube/connection', function () {
  this.timeout('30s') // the client library takes seconds to load on a busy machine
  const dir = mkdtempSync(join(tmpdir(), 'weft-kube-'))
  after(() => rmSync(dir, { recursive: true, force: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const fault = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      await work()
      return ''
    } catch (error) {
      assert.equal(codeOf(error), 'KUBECONFIG_INVALID')
      assert.ok(!messageOf(error).includes('\n'), 'one sentence')
      return messageOf(error)
    }
  }

  it('reads a renewed token after a minute, and at once when one was refused; the connections stay', async () => {
    const clock = new FakeClock()
    file('ca.crt', 'CA')
    file('token', 'one\n')
    using connection = new RenewedConnection(clock, async () => readAccount('http://127.0.0.1:1', dir))
    const first = await connection.credentials(false)
    assert.equal(first.headers.authorization, 'Bearer one')
    file('token', 'two')
    assert.equal((await connection.credentials(false)).headers.authorization, 'Bearer one')
    await clock.advance(61_000)
    const second = await connection.credentials(false)
    assert.equal(second.headers.authorization, 'Bearer two')
    assert.equal(second.agent, first.agent)
    rmSync(join(dir, 'token'))
    await clock.advance(61_000)
    assert.equal((await connection.credentials(false)).headers.authorization, 'Bearer two', 'good until something else is known')
    assert.match(await fault(() => connection.credentials(true)), /token/)
    file('token', 'three')
    assert.equal((await connection.credentials(true)).headers.authorization, 'Bearer three')
    file('ca.crt', 'ANOTHER')
    assert.notEqual((await connection.credentials(true)).agent, first.agent)
  })

  it('says what is missing in a pod without an account, and tries again', async () => {
    using connection = new RenewedConnection(new FakeClock(), async () => readAccount('http://127.0.0.1:1', join(dir, 'none')))
    assert.match(await fault(() => connection.credentials(false)), /none\/token/)
    assert.match(await fault(() => connection.credentials(false)), /none\/token/)
  })

  it('reads a token, a client certificate and a password', async () => {
    const { certPem: cert, keyPem: key } = await selfSigned('client')
    const certificate = `{ client-certificate-data: ${Buffer.from(cert).toString('base64')}, client-key-data: ${Buffer.from(key).toString('base64')} }`
    using byToken = connectionTo({ kubeconfig: file('token.conf', CONFIG('{ token: secret }')) })
    const { server, headers } = await byToken.credentials(false)
    assert.deepEqual([server, headers], ['https://127.0.0.1:1', { authorization: 'Bearer secret' }])
    using byCertificate = connectionTo({ kubeconfig: file('cert.conf', CONFIG(certificate)) })
    const { agent } = await byCertificate.credentials(false)
    const { options } = agent as unknown as { options: { cert?: string; rejectUnauthorized?: boolean } }
    assert.deepEqual([options.cert, options.rejectUnauthorized], [cert, false])
    using byPassword = connectionTo({ kubeconfig: file('password.conf', CONFIG('{ username: a, password: b }')) })
    assert.equal((await byPassword.credentials(false)).headers.authorization, `Basic ${Buffer.from('a:b').toString('base64')}`)
  })

  it('runs an exec plugin, and again when what it gave was refused', async () => {
    const credential = (token: string): string =>
      JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } })
    const plugin = file('plugin', `#!/bin/sh\necho x >> ${dir}/runs\necho '${credential('from-plugin')}'\n`)
    chmodSync(plugin, 0o700)
    const exec = `{ exec: { apiVersion: client.authentication.k8s.io/v1, command: ${plugin}, interactiveMode: Never } }`
    using connection = connectionTo({ kubeconfig: file('exec.conf', CONFIG(exec)) })
    assert.equal((await connection.credentials(false)).headers.authorization, 'Bearer from-plugin')
    file('plugin', `#!/bin/sh\necho '${credential('second')}'\n`)
    assert.equal((await connection.credentials(false)).headers.authorization, 'Bearer from-plugin')
    assert.equal((await connection.credentials(true)).headers.authorization, 'Bearer second')
    file('plugin', '#!/bin/sh\necho "log in first" >&2\nexit 1\n')
    assert.match(await fault(() => connection.credentials(true)), /credentials of the user "u" cannot be had: log in first\);/)
  })

  const BROKEN: readonly { readonly name: string; readonly text: string; readonly context?: string; readonly says: RegExp }[] = [
    { name: 'no YAML', text: 'a: [1', says: /it cannot be understood/ },
    { name: 'a list', text: '- a\n', says: /it cannot be understood|names no current context/ },
    { name: 'empty', text: '', says: /it cannot be understood|names no current context/ },
    { name: 'no context', text: 'apiVersion: v1\nkind: Config\n', says: /it names no current context/ },
    { name: 'unknown context', text: CONFIG('{ token: a }'), context: 'other', says: /it has no context "other"/ },
    { name: 'context without cluster', text: CONFIG('{ token: a }'), context: 'broken', says: /names no cluster with a server/ },
    {
      name: 'a server that is no address',
      text: CONFIG('{ token: a }').replace('https://127.0.0.1:1/', 'nowhere'),
      says: /names no cluster with a server/,
    },
    {
      name: 'a plugin that is not there',
      text: CONFIG('{ exec: { apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/plugin } }'),
      says: /ENOENT/,
    },
    {
      name: 'a certificate file that is not there',
      text: CONFIG('{ client-certificate: none.crt, client-key: none.key }'),
      says: /none\.crt/,
    },
  ]
  for (const [index, { name, text, context, says }] of BROKEN.entries())
    it(`says in one sentence: ${name}`, async () => {
      const kubeconfig = file(`broken-${index}.conf`, text)
      const sentence = await fault(async () => {
        using connection = connectionTo({ kubeconfig, ...(context === undefined ? {} : { context }) })
        await connection.credentials(false)
      })
      assert.match(sentence, says)
      assert.ok(sentence.includes(kubeconfig), sentence)
    })

  it('says at once when the file is not there, and when this is no pod', () => {
    assert.throws(() => connectionTo({ kubeconfig: join(dir, 'nothing') }), /no such file/)
    assert.throws(() => connectionTo({}), /this is no pod of a cluster/)
  })

  it('knows the API server as pods are told of it', () => {
    assert.equal(clusterServer({ KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' }), 'https://10.96.0.1:443')
    assert.equal(clusterServer({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' }), 'https://[fd00::1]:6443')
    assert.equal(clusterServer({ KUBERNETES_SERVICE_HOST: '10.96.0.1' }), undefined)
    assert.equal(clusterServer({}), undefined)
  })
})

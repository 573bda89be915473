// Objects of any kind by their paths, against a false one on loopback.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterAccess } from '../../../../cli/cluster/access.ts'
import { AnyObjects, KIND } from '../../../../cli/cluster/any-objects.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'

interface Asked {
  readonly method: string
  readonly url: string
  readonly type: string | undefined
  readonly body: unknown
}

/** An API server that answers by a function and writes down what it was asked. */
class FakeApi implements AsyncDisposable {
  readonly asked: Asked[] = []
  readonly kubeconfig: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'weft-api-'))
  readonly #server: Server

  private constructor(server: Server, port: number) {
    this.#server = server
    this.kubeconfig = join(this.#folder, 'config')
    const text = {
      clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'u', user: { token: 't' } }],
    }
    writeFileSync(
      this.kubeconfig,
      JSON.stringify({ ...text, contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }], 'current-context': 'x' }),
    )
  }

  static async start(answer: (asked: Asked) => readonly [status: number, body: object]): Promise<FakeApi> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const asked = {
          method: request.method ?? '',
          url: request.url ?? '',
          type: request.headers['content-type'],
          body: text === '' ? undefined : JSON.parse(text),
        }
        api.asked.push(asked)
        const [status, body] = answer(asked)
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const api = new FakeApi(server, (server.address() as AddressInfo).port)
    return api
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true })
  }
}

const named = (name: string) => ({ metadata: { name } })
const failed = (reason: string, message = '') => ({ kind: 'Status', reason, message })

describe('the API server as an install sees it', () => {
  it('lists page by page, and keeps what is wanted', async () => {
    await using api = await FakeApi.start(({ url }) => [
      200,
      url.includes('continue=2') ? { items: [named('b'), named('c')] } : { items: [named('a')], metadata: { continue: '2' } },
    ])
    using access = new ClusterAccess({ kubeconfig: api.kubeconfig })
    const cluster = new AnyObjects(access)
    const found = await cluster.list(KIND.pods, 'ns', 'app=x', ({ metadata }) => metadata.name !== 'b')
    assert.deepEqual(
      found.map(({ metadata }) => metadata.name),
      ['a', 'c'],
    )
    assert.deepEqual(
      api.asked.map(({ url }) => url),
      [
        '/api/v1/namespaces/ns/pods?limit=500&labelSelector=app%3Dx',
        '/api/v1/namespaces/ns/pods?limit=500&labelSelector=app%3Dx&continue=2',
      ],
    )
  })

  it('takes what is not there, or not known, for nothing', async () => {
    await using api = await FakeApi.start(() => [404, failed('NotFound')])
    using access = new ClusterAccess({ kubeconfig: api.kubeconfig })
    const cluster = new AnyObjects(access)
    assert.deepEqual(await cluster.list({ group: 'weft.dev', version: 'v1alpha1', plural: 'ratelimitpolicies' }), [])
    assert.equal(await cluster.get(KIND.daemonsets, 'ns', 'cni'), undefined)
    assert.equal(await cluster.delete(KIND.daemonsets, 'ns', 'cni'), false)
  })

  it('names verb, resource and namespace of a missing right', async () => {
    await using api = await FakeApi.start(() => [403, failed('Forbidden', 'pods is forbidden: User "me" cannot list resource "pods"')])
    using access = new ClusterAccess({ kubeconfig: api.kubeconfig })
    const cluster = new AnyObjects(access)
    await assert.rejects(
      cluster.patch(KIND.daemonsets, 'ns', 'cni', {}),
      (error) => codeOf(error) === 'FORBIDDEN' && /verb=patch resource=daemonsets\.apps namespace=ns/.test(sentenceOf(error)),
    )
  })

  it('applies and patches in the forms that the API server takes', async () => {
    await using api = await FakeApi.start(() => [200, {}])
    using access = new ClusterAccess({ kubeconfig: api.kubeconfig })
    const cluster = new AnyObjects(access)
    await cluster.apply(KIND.namespaces, named('weft-system'))
    await cluster.patch(KIND.nodes, undefined, 'n1', { metadata: {} })
    assert.deepEqual(
      api.asked.map(({ method, url, type }) => [method, url, type]),
      [
        ['PATCH', '/api/v1/namespaces/weft-system?fieldManager=weft&force=true', 'application/apply-patch+yaml'],
        ['PATCH', '/api/v1/nodes/n1', 'application/strategic-merge-patch+json'],
      ],
    )
  })

  it('asks what it may', async () => {
    await using api = await FakeApi.start(({ body }) => {
      const { resource } = (body as { spec: { resourceAttributes: { resource: string } } }).spec.resourceAttributes
      return [201, { status: { allowed: resource === 'secrets' } }]
    })
    using access = new ClusterAccess({ kubeconfig: api.kubeconfig })
    const cluster = new AnyObjects(access)
    assert.equal(await cluster.may('create', { group: '', plural: 'secrets' }, 'ns'), true)
    assert.equal(await cluster.may('create', { group: 'apps', plural: 'daemonsets' }, undefined), false)
  })

  it('a kubeconfig that cannot be read is one sentence', () => {
    assert.throws(
      () => new ClusterAccess({ kubeconfig: '/nowhere/config' }),
      (error) => codeOf(error) === 'KUBECONFIG_INVALID' && /\/nowhere\/config/.test(sentenceOf(error)),
    )
  })
})

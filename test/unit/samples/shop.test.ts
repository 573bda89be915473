// The sample applications: the shop sells over real HTTP, its YAML is consistent, and it knows nothing of a mesh.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseAllDocuments } from 'yaml'

const SAMPLES = join(import.meta.dirname, '..', '..', '..', 'samples')
const SHOP = join(SAMPLES, 'shop')

interface Document {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec: {
    readonly selector: { readonly matchLabels: Record<string, string> }
    readonly template: { readonly metadata: { readonly labels: Record<string, string> }; readonly spec: PodSpec }
  } & PodSpec
}
interface PodSpec {
  readonly serviceAccountName: string
  readonly containers: readonly { readonly command: readonly string[] }[]
}

/** Starts one service on a port that the kernel chooses; lines of its log are kept. */
class Service implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly lines: Record<string, unknown>[] = []
  readonly url: Promise<string>

  constructor(file: string, port: number, env: Record<string, string> = {}) {
    this.#child = spawn(process.execPath, [file], {
      cwd: SHOP,
      env: { PORT: String(port), SERVICE_NAME: file, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    assert.ok(this.#child.stdout !== null)
    const listening = Promise.withResolvers<string>()
    this.url = listening.promise
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line))
      if (this.lines.at(-1)?.message === 'listening') listening.resolve(`http://127.0.0.1:${port}`)
    })
    this.#child.on('exit', (code) => listening.reject(new Error(`${file} ended with ${code}`)))
  }

  async logged(test: (line: Record<string, unknown>) => boolean): Promise<void> {
    while (!this.lines.some(test)) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null], 'a service ends cleanly when asked')
  }
}

const order = (front: string, items: unknown, more: Record<string, string> = {}): Promise<Response> =>
  fetch(`${front}/api/orders`, { method: 'POST', body: JSON.stringify({ items }), headers: { 'x-request-id': 'order-1', ...more } })

describe('samples', () => {
  it('the shop sells, refuses with reasons, and passes the request id on', async () => {
    const base = 20_000 + (process.pid % 5000) * 8
    await using catalogue = new Service('catalogue.mjs', base)
    await using payments = new Service('payments.mjs', base + 1, { PAYMENTS_VERSION: 'v2' })
    await using cart = new Service('cart.mjs', base + 2, { CATALOGUE_URL: await catalogue.url, PAYMENTS_URL: await payments.url })
    const urls = { CATALOGUE_URL: await catalogue.url, CART_URL: await cart.url }
    await using front = new Service('front.mjs', base + 3, urls)
    const url = await front.url

    const sold = (await (await order(url, [{ product: 'teapot', quantity: 2 }])).json()) as { cents: number; payment: { version: string } }
    assert.equal(sold.cents, 4900)
    assert.equal(sold.payment.version, 'v2')
    for (const service of [front, cart, catalogue, payments]) await service.logged((line) => line.id === 'order-1')

    assert.equal((await order(url, [{ product: 'nothing' }])).status, 404)
    assert.equal((await order(url, [{ product: 'cup', quantity: -1 }])).status, 400)
    assert.equal((await order(url, [])).status, 400)
    const unpaid = await order(url, [{ product: 'teapot' }], { 'x-fail-every': '1' })
    assert.equal(unpaid.status, 502)
    assert.match(await unpaid.text(), /the till is stuck/)
    assert.match(await (await fetch(url)).text(), /Teapot/)
    assert.equal((await fetch(`${url}/readyz`)).status, 200)
    assert.equal((await fetch(`${url}/healthz`)).status, 200)

    await using batch = new Service('batch.mjs', base + 4, { FRONT_URL: url, INTERVAL_MS: '50' })
    await batch.url
    await batch.logged((line) => line.message === 'ordered')
  })

  it('the YAML names accounts, labels and files that exist', () => {
    for (const [folder, file] of [
      ['shop', 'shop.yaml'],
      ['two-pods', 'two-pods.yaml'],
    ] as const) {
      const text = readFileSync(join(SAMPLES, folder, file), 'utf8')
      const documents = parseAllDocuments(text).map((document) => document.toJS() as Document)
      const named = (kind: string): string[] => documents.filter((each) => each.kind === kind).map((each) => each.metadata.name)
      const pods = documents.flatMap((each) =>
        each.kind === 'Deployment' ? [each.spec.template] : each.kind === 'Pod' ? [each as never as Document['spec']['template']] : [],
      )
      assert.ok(pods.length > 1)
      for (const pod of pods) {
        assert.ok(named('ServiceAccount').includes(pod.spec.serviceAccountName))
        for (const { command } of pod.spec.containers) assert.ok(readdirSync(join(SAMPLES, folder)).includes(command[1] ?? 'none'))
      }
      for (const service of documents.filter((each) => each.kind === 'Service')) {
        assert.ok(
          pods.some((pod) =>
            Object.entries<string>(service.spec.selector as never as Record<string, string>).every(
              ([key, value]) => pod.metadata.labels[key] === value,
            ),
          ),
        )
      }
      for (const each of documents.filter((document) => document.kind === 'Deployment')) {
        for (const [key, value] of Object.entries(each.spec.selector.matchLabels))
          assert.equal(each.spec.template.metadata.labels[key], value)
      }
    }
  })

  it('the routes name services that are there', () => {
    const read = (...path: string[]): Record<string, unknown>[] =>
      parseAllDocuments(readFileSync(join(SHOP, ...path), 'utf8')).map((document) => document.toJS() as Record<string, unknown>)
    const files = readdirSync(join(SHOP, 'routes'))
    const all = [...read('shop.yaml'), ...files.flatMap((file) => read('routes', file))] as unknown as Document[]
    const services = all.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
    for (const file of files) {
      const named = [...readFileSync(join(SHOP, 'routes', file), 'utf8').matchAll(/(?:name|host): (payments[a-z0-9-]*)/g)]
      for (const [, name] of named) assert.ok(services.includes(name ?? ''), `${file}: ${name}`)
    }
    for (const { kind, metadata } of all) if (kind !== 'Namespace') assert.equal(metadata.namespace, 'shop')
  })

  it('the client that counts counts, and payments fails when it is asked to', async () => {
    await using payments = new Service('payments.mjs', 20_000 + (process.pid % 5000) * 8 + 5)
    const url = `${await payments.url}/version`
    const child = spawn(process.execPath, ['load.mjs', url, '-n', '9', '-c', '1', '-H', 'x-fail-every: 3'], { cwd: SHOP })
    const chunks: Buffer[] = []
    for await (const chunk of child.stdout) chunks.push(chunk as Buffer)
    const { status, version, error } = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, object>
    assert.deepEqual({ status, version, error }, { status: { 200: 6, 503: 3 }, version: { v1: 6 }, error: {} })
    assert.deepEqual(await (await fetch(url.replace('version', 'asked'))).json(), { asked: 9 })
  })

  it('the applications do not know of a mesh', () => {
    const notAnApplication = 'collector.mjs' // reads the spans of waypoints
    for (const folder of ['shop', 'two-pods']) {
      for (const file of readdirSync(join(SAMPLES, folder)).filter((name) => name.endsWith('.mjs') && name !== notAnApplication)) {
        assert.doesNotMatch(readFileSync(join(SAMPLES, folder, file), 'utf8'), /mesh|spiffe|istio|ztunnel|mtls|ambient|https:/i, file)
      }
    }
  })
})

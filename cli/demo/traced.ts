// The demo's claim about traces: one order, followed from service to service through a waypoint, with a payment that had to be tried
// again. Needs a mesh whose control plane names the shop's collector (samples/shop/observe), as the demo's own does.
import { type Claim, claim } from './claim.ts'
import { withRoute } from './routed.ts'
import { SHOP, type ShopStage } from './shop-stage.ts'

const COLLECTOR = 'observe/collector'
/** Each payments fails every second time: an order meets a failure at least every other time. */
const MOST_ORDERS = 12
/** Spans are sent once per second. */
const SPANS_LIMIT_MS = 4000
const SERVER = 2
const CLIENT = 3

/** A span as the collector tells it. */
interface Span {
  readonly spanId: string
  readonly parentSpanId?: string
  readonly kind: number
  readonly startMs: number
  readonly attributes: Readonly<Record<string, unknown>>
}

/** What a trace tells of an order. */
interface OrderTrace {
  readonly id: string
  readonly spans: readonly Span[]
  /** Services that were asked. */
  readonly asked: ReadonlySet<string>
  /** Spans that hang on no other; one = everything is connected. */
  readonly roots: number
  /** What each try of payments was answered, in their order. */
  readonly tries: readonly unknown[]
}

/** Orders, while payments fails and is tried again, until a trace shows it; the shop must be behind its waypoint. */
export async function traced(stage: ShopStage): Promise<readonly Claim[]> {
  const seen = await withRoute(stage, 'retry', () => retriedOrder(stage))
  const picture =
    seen === undefined ? '' : await ask(stage, COLLECTOR, `fetch('http://127.0.0.1:4318/traces?id=${seen.id}').then((r) => r.text())`)
  const says = 'one trace connects front, cart and payments, and shows a payment that was tried again'
  if (seen === undefined) return [claim(says, false, `no such trace within ${MOST_ORDERS} orders`)]
  const isTrue = seen.roots === 1 && seen.tries.at(-1) === 200
  const evidence = `${seen.spans.length} spans; asked: ${[...seen.asked].join(', ')}; payments: ${seen.tries.join(', then ')}`
  return [{ ...claim(says, isTrue, evidence), picture }]
}

async function retriedOrder(stage: ShopStage): Promise<OrderTrace | undefined> {
  for (let i = 0; i < MOST_ORDERS; i++) {
    const id = await order(stage)
    let seen: OrderTrace | undefined
    await stage.until(async () => {
      seen = await traceOf(stage, id)
      return ['front', 'cart', 'payments'].every((name) => seen?.asked.has(name)) && seen?.roots === 1
    }, SPANS_LIMIT_MS)
    if (seen !== undefined && seen.tries.length > 1) return seen
  }
  return undefined
}

/** An order as the batch client sends it, in a trace of its own. @returns the trace's id */
function order(stage: ShopStage): Promise<string> {
  return ask(
    stage,
    `${SHOP}/batch`,
    `(async () => {
      const hex = () => crypto.randomUUID().replaceAll('-', '')
      const id = hex()
      const headers = { 'content-type': 'application/json', 'x-fail-every': '2', traceparent: ['00', id, hex().slice(16), '01'].join('-') }
      const body = JSON.stringify({ items: [{ product: 'teapot', quantity: 1 }] })
      await (await fetch('http://front/api/orders', { method: 'POST', headers, body })).text()
      return id
    })()`,
  )
}

async function traceOf(stage: ShopStage, id: string): Promise<OrderTrace> {
  const text = await ask(stage, COLLECTOR, `fetch('http://127.0.0.1:4318/spans?id=${id}').then((r) => r.text())`)
  const spans = JSON.parse(text) as readonly Span[]
  const ids = new Set(spans.map(({ spanId }) => spanId))
  const requests = spans.filter(({ kind }) => kind === SERVER)
  const payments = new Set(requests.filter((span) => serviceOf(span) === 'payments').map(({ spanId }) => spanId))
  return {
    id,
    spans,
    asked: new Set(requests.map(serviceOf)),
    roots: spans.filter(({ parentSpanId = '' }) => !ids.has(parentSpanId)).length,
    tries: spans
      .filter(({ kind, parentSpanId = '' }) => kind === CLIENT && payments.has(parentSpanId))
      .sort((a, b) => a.startMs - b.startMs)
      .map(({ attributes }) => attributes['http.response.status_code']),
  }
}

/** `payments` of `payments.shop.svc.cluster.local` */
function serviceOf({ attributes }: Span): string {
  return String(attributes['server.address']).split('.')[0] ?? ''
}

/** Prints what a script in a pod resolves to. @throws Error with what it said when it failed */
async function ask(stage: ShopStage, pod: string, script: string): Promise<string> {
  const { status, output } = await stage.exec(pod, ['node', '-e', `${script}.then(console.log)`])
  if (status !== 0) throw new Error(`${pod}: ${output.slice(-300)}`)
  return output
}

// Payments: takes the money. Version 2 (PAYMENTS_VERSION=v2) also says what the payment cost the shop.
// An order is charged once, however often it is sent to one instance: it is safe to ask again. To try things out: /version says who answers, /asked counts the
// requests for it; of the payments and versions with the header `x-fail-every: 3` every third fails.
import { Refusal, serve } from './service.mjs'

const VERSION = process.env.PAYMENTS_VERSION ?? 'v1'
const MOST_CENTS = 1_000_000
const MOST_KEPT = 10_000
const FEE_SHARE = 0.014

const charged = new Map()
let asked = 0
let doomed = 0

serve({
  'PUT /payments/:order': ({ params: { order }, body, headers }) => {
    failAtTimes(headers)
    const { cents } = body ?? {}
    if (order.length > 64) throw new Refusal(400, 'order: an id is wanted')
    if (!Number.isInteger(cents) || cents < 1) throw new Refusal(400, 'cents: a whole number above 0 is wanted')
    if (cents > MOST_CENTS) throw new Refusal(402, 'the bank declines')
    const before = charged.get(order)
    if (before !== undefined) return before
    if (charged.size >= MOST_KEPT) charged.delete(charged.keys().next().value)
    const fee = VERSION === 'v2' ? { feeCents: Math.ceil(cents * FEE_SHARE) } : {}
    const payment = { id: crypto.randomUUID(), order, cents, version: VERSION, ...fee }
    charged.set(order, payment)
    return payment
  },
  'GET /version': ({ headers }) => {
    asked++
    failAtTimes(headers)
    return { version: VERSION }
  },
  'GET /asked': () => ({ asked }),
})

function failAtTimes(headers) {
  const every = Number(headers['x-fail-every'] ?? 0)
  if (every > 0 && ++doomed % every === 0) throw new Refusal(503, 'the till is stuck')
}

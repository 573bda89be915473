// The batch client: a business customer that orders every INTERVAL_MS (default 1000) and logs each order.
import { call, log, serve } from './service.mjs'

const FRONT = process.env.FRONT_URL ?? 'http://front'
const INTERVAL_MS = Number(process.env.INTERVAL_MS ?? 1000)

const done = { ordered: 0, failed: 0 }

serve({ 'GET /': () => done })
order()

async function order() {
  const request = { headers: { 'x-request-id': crypto.randomUUID() } }
  const begunMs = performance.now()
  try {
    const { products } = await call('GET', `${FRONT}/api/products`, { request })
    const product = products[Math.floor(Math.random() * products.length)].id
    const sold = await call('POST', `${FRONT}/api/orders`, { request, body: { items: [{ product, quantity: 12 }] } })
    done.ordered++
    const ms = Math.round(performance.now() - begunMs)
    log('ordered', {
      order: sold.order,
      product,
      cents: sold.cents,
      payments: sold.payment.version,
      ms,
      id: request.headers['x-request-id'],
    })
  } catch (error) {
    done.failed++
    log('order failed', { error: error.message, id: request.headers['x-request-id'] })
  }
  setTimeout(order, INTERVAL_MS)
}

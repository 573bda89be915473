// Carts: what somebody is about to buy. Asks the catalogue for prices and payments for the money.
import { call, log, Refusal, serve } from './service.mjs'

const CATALOGUE = process.env.CATALOGUE_URL ?? 'http://catalogue'
const PAYMENTS = process.env.PAYMENTS_URL ?? 'http://payments'
const MOST_CARTS = 10_000
const MOST_PIECES = 100

/** The oldest cart goes first when there are too many: abandoned ones are never checked out. */
const carts = new Map()

serve({
  'POST /carts': () => {
    if (carts.size >= MOST_CARTS) carts.delete(carts.keys().next().value)
    const cart = { id: crypto.randomUUID(), items: [], cents: 0 }
    carts.set(cart.id, cart)
    return cart
  },
  'GET /carts/:id': ({ params }) => find(params.id),
  'POST /carts/:id/items': async (request) => {
    const cart = find(request.params.id)
    const { product: id, quantity = 1 } = request.body ?? {}
    if (!/^[a-z]{1,32}$/.test(id)) throw new Refusal(400, 'product: the id of a product is wanted')
    if (!Number.isInteger(quantity) || quantity < 1 || quantity > MOST_PIECES) throw new Refusal(400, `quantity: 1 to ${MOST_PIECES}`)
    const product = await call('GET', `${CATALOGUE}/products/${id}`, { request })
    cart.items.push({ product: product.id, quantity, cents: product.cents * quantity })
    cart.cents = cart.items.reduce((sum, item) => sum + item.cents, 0)
    return cart
  },
  'POST /carts/:id/checkout': async (request) => {
    const cart = find(request.params.id)
    if (cart.items.length === 0) throw new Refusal(409, 'the cart is empty')
    const payment = await call('PUT', `${PAYMENTS}/payments/${cart.id}`, { request, body: { cents: cart.cents } })
    carts.delete(cart.id)
    log('sold', { order: cart.id, cents: cart.cents, payment: payment.id, payments: payment.version })
    return { order: cart.id, items: cart.items, cents: cart.cents, payment }
  },
})

function find(id) {
  const cart = carts.get(id)
  if (cart === undefined) throw new Refusal(404, `no cart ${id}`)
  return cart
}

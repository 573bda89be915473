// The front: the shop as people see it, and the API that its page and the batch client use.
import { call, Refusal, serve } from './service.mjs'

const CATALOGUE = process.env.CATALOGUE_URL ?? 'http://catalogue'
const CART = process.env.CART_URL ?? 'http://cart'
const LAST_ORDERS = 20

const orders = []

serve({
  'GET /': async (request) => page((await call('GET', `${CATALOGUE}/products`, { request })).products),
  'GET /api/products': (request) => call('GET', `${CATALOGUE}/products`, { request }),
  'GET /api/orders': () => ({ orders }),
  'POST /api/orders': async (request) => {
    const items = request.body?.items
    if (!Array.isArray(items) || items.length === 0 || items.length > 20) throw new Refusal(400, 'items: 1 to 20 of { product, quantity }')
    const cart = await call('POST', `${CART}/carts`, { request })
    for (const item of items) await call('POST', `${CART}/carts/${cart.id}/items`, { request, body: item })
    const order = await call('POST', `${CART}/carts/${cart.id}/checkout`, { request })
    orders.unshift(order)
    orders.length = Math.min(orders.length, LAST_ORDERS)
    return order
  },
})

function page(products) {
  const rows = products.map(
    (product) => `<tr><td>${escapeHtml(product.name)}<br><small>${escapeHtml(product.about)}</small></td>
      <td class="price">${(product.cents / 100).toFixed(2)} €</td><td><button data-id="${escapeHtml(product.id)}">Buy</button></td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tea shop</title>
<style>body{font:16px/1.5 sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}td{padding:.4rem .8rem .4rem 0}.price{text-align:right}</style>
</head><body><h1>Tea shop</h1><table>${rows.join('\n')}</table><p id="said" role="status"></p>
<script>
for (const button of document.querySelectorAll('button')) button.onclick = async () => {
  const items = [{ product: button.dataset.id, quantity: 1 }]
  const answer = await fetch('/api/orders', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ items }) })
  const order = await answer.json()
  document.getElementById('said').textContent = answer.ok ? 'Sold: order ' + order.order + ', paid by payments ' + order.payment.version : order.error
}
</script></body></html>
`
}

function escapeHtml(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

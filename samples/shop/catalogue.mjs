// The catalogue: what the shop sells, and for how much. Prices in cents.
import { Refusal, serve } from './service.mjs'

const PRODUCTS = [
  { id: 'kettle', name: 'Kettle', cents: 3900, about: 'Whistles when it is done.' },
  { id: 'teapot', name: 'Teapot', cents: 2450, about: 'Short and stout.' },
  { id: 'cup', name: 'Cup', cents: 850, about: 'Holds 0.3 litres.' },
  { id: 'strainer', name: 'Strainer', cents: 690, about: 'Keeps the leaves back.' },
  { id: 'darjeeling', name: 'Darjeeling, 250 g', cents: 1290, about: 'Second flush.' },
  { id: 'assam', name: 'Assam, 250 g', cents: 990, about: 'Strong, takes milk.' },
]

serve({
  'GET /products': () => ({ products: PRODUCTS }),
  'GET /products/:id': ({ params }) => {
    const product = PRODUCTS.find((each) => each.id === params.id)
    if (product === undefined) throw new Refusal(404, `no product ${params.id}`)
    return product
  },
})

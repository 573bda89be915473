// A service of a chain: node chain-app.ts NAME [NEXT-URL]. Answers by asking the next one and passing its status on, with the trace
// headers of the request as applications do. The last one of the chain fails every second request. Runs inside a pod.
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'

/** Paths that are answered at once: nobody else is asked. */
const OWN_ANSWERS: Readonly<Record<string, number>> = { '/ready': 200, '/own': 200, '/missing': 404 }
const PASSED_ON = ['traceparent', 'tracestate']
const [, , name = 'app', next] = process.argv
let asked = 0

createServer((request, response) => {
  const own = OWN_ANSWERS[request.url ?? '/']
  if (own !== undefined) return void response.writeHead(own).end(`${name}\n`)
  if (next === undefined) return void response.writeHead(++asked % 2 === 1 ? 503 : 200).end(`${name}\n`)
  askNext(next, request.url ?? '/', request.headers).then(
    (status) => response.writeHead(status).end(`${name}\n`),
    () => response.writeHead(502).end(`${name}\n`),
  )
}).listen(8080, '::')
process.on('SIGTERM', () => process.exit(0))

function askNext(base: string, path: string, from: IncomingHttpHeaders): Promise<number> {
  const headers = Object.fromEntries(PASSED_ON.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])))
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${base}${path}`, { headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 502))
    })
    outgoing.on('error', reject).end()
  })
}

// A client that counts: node load.mjs URL [-n REQUESTS] [-c CONNECTIONS] [-H 'NAME: VALUE']. Asks as fast as answers come, on
// connections that are kept open, and prints in one line of JSON what became of every request.
import http from 'node:http'
import { parseArgs } from 'node:util'

const TIMEOUT_MS = 10_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: 'string', short: 'n', default: '1000' },
    connections: { type: 'string', short: 'c', default: '8' },
    header: { type: 'string', short: 'H', multiple: true, default: [] },
  },
})
const [url] = positionals
const connections = Number(values.connections)
const headers = Object.fromEntries(values.header.map((line) => line.split(/:\s*/, 2)))
const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
const seen = { requests: 0, status: {}, version: {}, error: {} }
const durations = []
const begunMs = performance.now()

await Promise.all(Array.from({ length: connections }, lane))
durations.sort((a, b) => a - b)
const at = (share) => Math.round((durations[Math.floor((durations.length - 1) * share)] ?? 0) * 10) / 10
console.log(JSON.stringify({ ...seen, seconds: Math.round(performance.now() - begunMs) / 1000, ms: { p50: at(0.5), p99: at(0.99) } }))
process.exit(0)

async function lane() {
  while (seen.requests < Number(values.requests)) {
    seen.requests++
    const startMs = performance.now()
    try {
      const { status, retryAfter, body } = await ask()
      count(seen.status, status)
      if (retryAfter !== undefined) seen.retryAfter = retryAfter
      if (status === 200) count(seen.version, versionIn(body))
      durations.push(performance.now() - startMs)
    } catch (error) {
      count(seen.error, error.code ?? error.message)
    }
  }
}

function ask() {
  return new Promise((resolve, reject) => {
    const outgoing = http.get(url, { agent, headers, timeout: TIMEOUT_MS }, async (response) => {
      try {
        const chunks = []
        for await (const chunk of response) chunks.push(chunk)
        resolve({ status: response.statusCode, retryAfter: response.headers['retry-after'], body: Buffer.concat(chunks).toString() })
      } catch (error) {
        reject(error)
      }
    })
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer'), { code: 'SILENT' })))
    outgoing.on('error', reject)
  })
}

/** Which version of a service has answered, if it says so. */
function versionIn(body) {
  try {
    return JSON.parse(body).version ?? '-'
  } catch {
    return '-'
  }
}

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1
}

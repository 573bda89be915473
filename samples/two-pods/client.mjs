// Asks the server every second and prints the answer or why there is none.
import http from 'node:http'

const URL_TO_ASK = process.env.SERVER_URL ?? 'http://server/'

function ask() {
  const request = http.get(URL_TO_ASK, { agent: false, timeout: 3000 }, async (response) => {
    const chunks = await response.toArray().catch((error) => [`broken: ${error.message}`])
    console.log(
      `${response.statusCode} ${Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)))
        .toString()
        .trim()}`,
    )
  })
  request.on('timeout', () => request.destroy(new Error('no answer within 3 s')))
  request.on('error', (error) => console.log(`no answer: ${error.message}`))
}

setInterval(ask, 1000)
ask()
process.on('SIGTERM', () => process.exit(0))

// Answers every request with a greeting that names who asked, as the server sees it.
import http from 'node:http'

const server = http.createServer((request, response) => {
  response.end(`hello ${request.socket.remoteAddress?.replace('::ffff:', '')}\n`)
})
server.listen(8080, () => console.log('listening on 8080'))
process.on('SIGTERM', () => process.exit(0))

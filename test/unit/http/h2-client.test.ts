// connectHttp2 with Node's server: responses, failures and what may be tried again.
import assert from 'node:assert/strict'
import type { RequestHead } from '../../../model/http.ts'
import { answerHandlers, ourClient } from '../../support/h2-ends.ts'

const GET: RequestHead = {
  version: 'HTTP/1.1',
  method: 'GET',
  scheme: 'http',
  authority: 'server.test',
  path: '/',
  query: undefined,
  headers: [],
  upgrade: undefined,
}

describe('http/h2-client', () => {
  it('sends a request and gives its response', async () => {
    using ends = ourClient((session) =>
      session.on('stream', (stream, headers) => {
        stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true })
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': '1' }))
        stream.pipe(stream)
      }),
    )
    const handlers = answerHandlers()
    const exchange = ends.client.request({ ...GET, method: 'POST', path: '/p', query: '' }, 3, handlers)
    exchange.body.write(Buffer.from('abc'))
    exchange.body.end()
    const { head, bytes, trailers } = await handlers.answer
    assert.equal(head.status, 200)
    assert.deepEqual(
      head.headers.find(([name]) => name === 'x-path'),
      ['x-path', '/p?'],
    )
    assert.equal(bytes.toString(), 'abc')
    assert.deepEqual(trailers, [['x-end', '1']])
  })
})

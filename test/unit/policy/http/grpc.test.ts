// What is a gRPC call, statuses of both worlds, and errors without a backend.
import assert from 'node:assert/strict'
import { grpcError, grpcStatusIn, grpcStatusOf, httpStatusOf, isGrpc } from '../../../../policy/http/grpc.ts'
import { requestOf } from '../../../support/request-values.ts'

const CALLS: readonly {
  readonly name: string
  readonly given: readonly [type: string | undefined, method?: string]
  readonly want: boolean
}[] = [
  { name: 'application/grpc', given: ['application/grpc'], want: true },
  { name: 'with a codec', given: ['application/grpc+proto'], want: true },
  { name: 'with parameters', given: ['application/grpc; charset=utf-8'], want: true },
  { name: 'in capitals', given: ['Application/GRPC'], want: true },
  { name: 'gRPC-Web', given: ['application/grpc-web'], want: false },
  { name: 'another type', given: ['application/json'], want: false },
  { name: 'no type', given: [undefined], want: false },
  { name: 'a GET', given: ['application/grpc', 'GET'], want: false },
]
const FROM_HTTP = { 200: 2, 302: 2, 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 500: 2, 502: 14, 503: 14, 504: 14 }
const TO_HTTP = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]

describe('grpc', () => {
  for (const row of CALLS) {
    it(row.name, () => {
      const [type, method = 'POST'] = row.given
      assert.equal(isGrpc(requestOf('/s/m', type === undefined ? {} : { 'content-type': type }, { method })), row.want)
    })
  }

  it('maps statuses as Envoy does', () => {
    for (const [http, grpc] of Object.entries(FROM_HTTP)) assert.equal(grpcStatusOf(Number(http)), grpc, http)
    assert.deepEqual(
      TO_HTTP.map((_, status) => httpStatusOf(status)),
      TO_HTTP,
    )
    assert.deepEqual([httpStatusOf(17), httpStatusOf(-1)], [500, 500])
  })

  it('reads grpc-status', () => {
    assert.equal(grpcStatusIn([['grpc-status', '14']]), 14)
    assert.equal(grpcStatusIn([['grpc-message', 'x']]), undefined)
    for (const text of ['', 'x', '-1', '1.5', '99999999999']) assert.equal(grpcStatusIn([['grpc-status', text]]), 2, text)
  })

  it('answers with headers alone; the message cannot break out of its field', () => {
    assert.deepEqual(grpcError(14, 'no backend: 50 % é\r\nx: y'), {
      status: 200,
      headers: [
        ['content-type', 'application/grpc'],
        ['grpc-status', '14'],
        ['grpc-message', 'no backend: 50 %25 %C3%A9%0D%0Ax: y'],
      ],
    })
    assert.ok((grpcError(2, '\u{1f600}'.repeat(10_000)).headers[2]?.[1].length ?? 0) <= 8192)
  })
})

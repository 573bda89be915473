// Refusals of the API server as codes, with what was asked for in plain words.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { failureOf, failureOfStatus } from '../../../../objects/kube/refusal.ts'
import { statusOf } from '../../../support/fake-apiserver.ts'

const asked = { verb: 'list', resource: 'pods', namespace: 'shop' }
const CASES: readonly {
  readonly name: string
  readonly status: number
  readonly body: unknown
  readonly code: string
  readonly says: RegExp
}[] = [
  { name: 'not found', status: 404, body: statusOf(404, 'NotFound', 'pods "a" not found'), code: 'NOT_FOUND', says: /pods "a" not found/ },
  { name: 'exists', status: 409, body: statusOf(409, 'AlreadyExists', 'x'), code: 'CONFLICT', says: /x/ },
  { name: 'changed', status: 409, body: statusOf(409, 'Conflict', 'x'), code: 'CONFLICT', says: /x/ },
  { name: 'gone', status: 410, body: statusOf(410, 'Expired', 'x'), code: 'VERSION_TOO_OLD', says: /x/ },
  { name: 'invalid', status: 422, body: statusOf(422, 'Invalid', 'spec.a: bad'), code: 'INVALID_OBJECT', says: /spec\.a: bad/ },
  { name: 'too many', status: 429, body: statusOf(429, 'TooManyRequests', 'x'), code: 'NOT_READY', says: /x/ },
  { name: 'a proxy in between', status: 502, body: '<html>bad gateway</html>', code: 'API_FAILED', says: /bad gateway/ },
  { name: 'no words', status: 503, body: '', code: 'NOT_READY', says: /status=503/ },
  { name: 'no object', status: 500, body: 'null', code: 'API_FAILED', says: /status=500/ },
  {
    name: 'a right is missing',
    status: 403,
    body: statusOf(
      403,
      'Forbidden',
      'pods is forbidden: User "system:serviceaccount:a:b" cannot list resource "pods" in API group "" in the namespace "shop"',
    ),
    code: 'FORBIDDEN',
    says: /a right is missing on the cluster \(verb=list resource=pods namespace=shop account=system:serviceaccount:a:b\); /,
  },
  {
    name: 'a quota',
    status: 403,
    body: statusOf(403, 'Forbidden', 'exceeded quota: pods'),
    code: 'FORBIDDEN',
    says: /what=exceeded quota: pods/,
  },
]

describe('objects/kube/refusal', () => {
  for (const { name, status, body, code, says } of CASES)
    it(name, () => {
      const error = failureOf(asked, status, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
      assert.equal(error.code, code)
      assert.match(error.message, says)
    })

  it('reads the status inside a watch', () => {
    assert.equal(failureOfStatus(asked, 0, statusOf(410, '', 'x')).code, 'VERSION_TOO_OLD')
    assert.equal(failureOfStatus(asked, 0, null).code, 'API_FAILED')
  })

  it('is bounded', () => {
    assert.ok(failureOf(asked, 500, Buffer.alloc(100_000, 'x')).message.length < 1000)
  })
})

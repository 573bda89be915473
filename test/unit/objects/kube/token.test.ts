// Token reviews: good only for a service account, only for the audience that the API server itself names.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { readReview, readToken, requestBody } from '../../../../objects/kube/token.ts'

const user = {
  username: 'system:serviceaccount:weft-system:ztunnel',
  extra: {
    'authentication.kubernetes.io/pod-name': ['z-1'],
    'authentication.kubernetes.io/pod-uid': ['u'],
    'authentication.kubernetes.io/node-name': ['n'],
  },
}
const good = { authenticated: true, audiences: ['istio-ca'], user }

const REFUSED: readonly { readonly name: string; readonly status: object; readonly error: RegExp }[] = [
  { name: 'not authenticated', status: { authenticated: false, error: 'expired' }, error: /^expired$/ },
  { name: 'no word about it', status: { user, audiences: ['istio-ca'] }, error: /not valid/ },
  { name: 'authenticated as text', status: { ...good, authenticated: 'true' }, error: /not valid/ },
  { name: 'another audience', status: { ...good, audiences: ['https://kubernetes.default.svc'] }, error: /not for the audience istio-ca/ },
  { name: 'no audience: an API server that does not know them', status: { ...good, audiences: undefined }, error: /not for the audience/ },
  { name: 'a person', status: { ...good, user: { username: 'admin' } }, error: /not of a service account/ },
  { name: 'a node', status: { ...good, user: { username: 'system:node:n' } }, error: /not of a service account/ },
  {
    name: 'a name with more parts',
    status: { ...good, user: { username: 'system:serviceaccount:a:b:c' } },
    error: /not of a service account/,
  },
  { name: 'no user', status: { ...good, user: undefined }, error: /not of a service account/ },
]

describe('objects/kube/token', () => {
  it('reads who it is', () => {
    const want = { namespace: 'weft-system', serviceAccount: 'ztunnel', podName: 'z-1', podUid: 'u', nodeName: 'n' }
    assert.deepEqual(readReview({ status: good }, 'istio-ca'), { authenticated: true, user: want })
  })

  it('takes a claim that has two values for none', () => {
    const extra = { ...user.extra, 'authentication.kubernetes.io/pod-uid': ['u', 'v'] }
    assert.equal(readReview({ status: { ...good, user: { ...user, extra } } }, 'istio-ca').user?.podUid, undefined)
  })

  for (const { name, status, error } of REFUSED)
    it(`refuses: ${name}`, () => {
      const answer = readReview({ status }, 'istio-ca')
      assert.equal(answer.authenticated, false)
      assert.match(answer.error ?? '', error)
    })

  it('does not take anything else for an answer', () => {
    for (const body of [undefined, null, {}, { status: 'ok' }]) assert.throws(() => readReview(body, 'istio-ca'), /the object API failed/)
    for (const body of [undefined, {}, { status: { token: 7 } }]) assert.throws(() => readToken(body), /holds no token/)
  })

  it('asks for a token of a pod', () => {
    const body = requestBody({
      namespace: 'a',
      serviceAccount: 'b',
      audiences: ['istio-ca'],
      expirationSeconds: 600,
      pod: { name: 'p', uid: 'u' },
    })
    const spec = { audiences: ['istio-ca'], expirationSeconds: 600, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u' } }
    assert.deepEqual(body, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec })
  })
})

// A thread's certificates: waiters are bounded, renewed contexts replace old ones, the expired count as absent.
import assert from 'node:assert/strict'
import { CertificateAuthority } from '../../../certs/ca.ts'
import { checkCsr, createCsr } from '../../../certs/csr.ts'
import { systemClock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import { CredentialStore, type CredentialText } from '../../../identity/credentials.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/web' as SpiffeId

describe('CredentialStore', () => {
  let message: CredentialText

  before(async () => {
    const { authority } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock: systemClock })
    const { csrPem, keyPem } = await createCsr({ id: ID })
    const csr = await checkCsr(csrPem)
    assert.ok(csr.ok)
    const issued = await authority.issue({ publicKey: csr.value.publicKey, id: ID })
    const notAfterMs = systemClock.nowMs() + 60_000
    message = { id: ID, chainPem: issued.chainPem.join('\n'), keyPem, rootsPem: issued.rootsPem, notAfterMs }
  })

  function setUp(waitMs = 1000): { store: CredentialStore; asked: string[] } {
    const asked: string[] = []
    const request = (id: SpiffeId, priority: string): void => void asked.push(`${id} ${priority}`)
    return { store: new CredentialStore({ trustDomain: 'cluster.local', clock: systemClock, waitMs, request }), asked }
  }

  it('lets connections wait for the first certificate', async () => {
    const { store, asked } = setUp()
    const waiting = Promise.all([store.get(ID), store.get(ID)])
    store.put(message)
    const [first, second] = await waiting
    assert.equal(first, second)
    assert.equal(await store.get(ID), first)
    assert.deepEqual(asked, [`${ID} realtime`, `${ID} realtime`])
  })

  it('gives up with the reason of the last try', async () => {
    const { store } = setUp(20)
    const waiting = store.get(ID)
    store.failed(ID, 'the authority said no')
    await assert.rejects(waiting, (error) => codeOf(error) === 'CERTIFICATE_TIMEOUT' && /the authority said no/.test(String(error)))
  })

  it('takes an expired certificate for none', () => {
    const { store } = setUp()
    store.put({ ...message, notAfterMs: systemClock.nowMs() - 1 })
    assert.equal(store.peek(ID), undefined)
  })

  it('tells of renewals and keeps what it had when the new one is broken', () => {
    const { store } = setUp()
    const told: string[] = []
    store.onRenewed((credentials) => told.push(credentials.id))
    store.put(message)
    const before = store.peek(ID)
    store.put({ ...message, keyPem: 'no key' })
    assert.equal(store.peek(ID), before)
    assert.deepEqual(told, [ID])
    store.forget(ID)
    assert.equal(store.peek(ID), undefined)
  })
})

// What the proxy believes of the CA's answer; the client itself runs against a real server in the netns tier.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import type { CertificateAuthority } from '../../../certs/ca.ts'
import { CertificateAuthority as Authority } from '../../../certs/ca.ts'
import { checkCsr, createCsr } from '../../../certs/csr.ts'
import { systemClock } from '../../../kit/clock.ts'
import { codeOf } from '../../../kit/error.ts'
import type { SpiffeId } from '../../../model/identity.ts'
import { acceptAnswer } from '../../../identity/ca-client.ts'
import { idOf, materialOf, newCa, newSigner } from '../../support/certificates.ts'

const ID = idOf('client')

async function answerOf(ca: CertificateAuthority, id: SpiffeId = ID): Promise<{ answer: string[]; keyPem: string }> {
  const { csrPem, keyPem } = await createCsr({ id })
  const csr = await checkCsr(csrPem)
  assert.ok(csr.ok)
  const issued = await ca.issue({ publicKey: csr.value.publicKey, id })
  return { answer: [...issued.chainPem, issued.rootsPem], keyPem }
}

describe('identity/ca-client', () => {
  const at = new Date()
  it('takes a chain of one and of several', async () => {
    const root = await newSigner({ name: 'root' })
    const upper = await newSigner({ name: 'upper', issuer: root })
    const lower = await newSigner({ name: 'lower', issuer: upper })
    const long = await Authority.fromPem({ ...(await materialOf(lower, [upper], root)), trustDomain: 'cluster.local', clock: systemClock })
    for (const [ca, count] of [
      [await newCa(), 1],
      [long, 3],
    ] as const) {
      const { answer, keyPem } = await answerOf(ca)
      const taken = acceptAnswer(answer, { id: ID, keyPem, at: new Date() })
      assert.equal(taken.chainPem.match(/BEGIN/g)?.length, count)
      assert.equal(taken.rootsPem, ca.rootsPem)
      assert.equal(taken.serial, new X509Certificate(answer[0]!).serialNumber.toLowerCase())
      // istiod may send the chain as one entry
      const joined = [answer.slice(0, -1).join(''), answer.at(-1)!]
      assert.deepEqual(acceptAnswer(joined, { id: ID, keyPem, at: new Date() }), taken)
    }
  })

  it('believes nothing else', async () => {
    const [ca, other] = [await newCa(), await newCa()]
    const { answer, keyPem } = await answerOf(ca)
    const [leaf, roots] = answer as [string, string]
    const foreign = await answerOf(ca, idOf('server'))
    const unsigned = await answerOf(other)
    const bad: Record<string, { answer: string[]; keyPem?: string; at?: Date }> = {
      'no entry': { answer: [] },
      'a leaf alone': { answer: [leaf] },
      'roots alone': { answer: [roots, roots] },
      'thirteen entries': { answer: [leaf, ...Array.from({ length: 11 }, () => roots), roots] },
      'another identity': { ...foreign },
      'another key': { answer, keyPem: foreign.keyPem },
      'another root': { answer: [leaf, other.rootsPem] },
      'a leaf of another CA': { answer: [unsigned.answer[0]!, roots], keyPem: unsigned.keyPem },
      'no root': { answer: [leaf, ''] },
      'a leaf as root': { answer: [leaf, leaf] },
      'no PEM': { answer: ['x', roots] },
      'half a PEM': { answer: [leaf.slice(0, -30), roots] },
      'a key in the chain': { answer: [leaf + keyPem, roots] },
      expired: { answer, at: new Date(Date.now() + 25 * 3_600_000) },
      'not valid yet': { answer, at: new Date(Date.now() - 3_600_000) },
    }
    for (const [name, given] of Object.entries(bad)) {
      assert.throws(
        () => acceptAnswer(given.answer, { id: ID, keyPem: given.keyPem ?? keyPem, at: given.at ?? at }),
        (error: Error) => {
          assert.equal(codeOf(error), 'CERTIFICATE_INVALID', name)
          assert.ok(!error.message.includes(keyPem.split('\n')[1]!), name)
          return true
        },
        name,
      )
    }
  })
})

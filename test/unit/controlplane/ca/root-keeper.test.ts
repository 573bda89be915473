// The root in Secrets: made once however many replicas start, brought by the operator, rotated without a moment in which a certificate
// in use is not trusted, followed without a restart, and never replaced by something broken.
import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { describe, it } from 'mocha'
import { parseRoots } from '../../../../certs/bundle.ts'
import { CertificateAuthority } from '../../../../certs/ca.ts'
import { createCsr, checkCsr } from '../../../../certs/csr.ts'
import { ROOT_POLL_MS, RootKeeper } from '../../../../controlplane/ca/root-keeper.ts'
import { CACERTS_ANNOTATION, encodeData, overlapMs, ROTATE_ANNOTATION } from '../../../../controlplane/ca/root-material.ts'
import type { SpiffeId } from '../../../../model/identity.ts'
import type { MeshObject, StringMap } from '../../../../model/object.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { keyPemOf, newSigner, type Signer } from '../../../support/certificates.ts'
import { FakeApi } from '../../../support/fake-api.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeLeader } from '../../../support/fake-leader.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const NAMESPACE = 'weft-system'
const ID = 'spiffe://cluster.local/ns/shop/sa/cart' as SpiffeId
const LIFE_MS = 3_600_000
const OVERLAP_MS = overlapMs(LIFE_MS)
const START_MS = Date.now() // certificates that a test makes by hand are of today

class Stage {
  readonly api = new FakeApi()
  readonly clock = new FakeClock(START_MS)
  readonly log = keptLog()
  readonly leader = new FakeLeader()

  open(leader = this.leader, trustDomain = 'cluster.local'): Promise<RootKeeper> {
    const limits = { defaultTtlMs: LIFE_MS, maxTtlMs: LIFE_MS }
    const options = { api: this.api, namespace: NAMESPACE, trustDomain, limits, leader, clock: this.clock, log: this.log.log }
    return RootKeeper.open(options, new AbortController().signal)
  }

  secret(name = 'weft-ca'): MeshObject | undefined {
    return this.api.objects.get(`secrets ${NAMESPACE}/${name}`)
  }

  put(name: string, data: StringMap, annotations: StringMap = {}): void {
    this.api.set('secrets', NAMESPACE, name, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: NAMESPACE, annotations },
      data,
    })
  }

  said(text: string): boolean {
    return this.log.lines.some(({ message }) => message.includes(text))
  }
}

const rootsOf = (pem: string): string[] => {
  const roots = parseRoots(pem)
  assert.ok(roots.ok)
  return roots.value.map(({ fingerprint256 }) => fingerprint256)
}

async function newRoot(clock: FakeClock, ttlMs?: number): Promise<StringMap> {
  const { material } = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local', clock, ...(ttlMs !== undefined && { ttlMs }) })
  return encodeData({ 'ca-cert.pem': material.certChainPem, 'ca-key.pem': material.keyPem, 'root-cert.pem': material.rootsPem })
}

const OTHER_KEY = Buffer.from(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
).toString('base64')

const text = (data: StringMap | undefined, key: string): string => Buffer.from(data?.[key] ?? '', 'base64').toString()

/** A proxy: a certificate of some time, and the bundle that came with it. */
interface Holder {
  readonly leaf: X509Certificate
  readonly notAfterMs: number
  readonly bundle: readonly X509Certificate[]
}

async function enrol(keeper: RootKeeper, publicKey: Uint8Array): Promise<Holder> {
  const issued = await keeper.live.current.issue({ publicKey, id: ID })
  const bundle = parseRoots(issued.rootsPem)
  assert.ok(bundle.ok)
  return { leaf: new X509Certificate(issued.chainPem[0] ?? ''), notAfterMs: issued.notAfter.getTime(), bundle: bundle.value }
}

/** A CA as an operator brings it: an intermediate below a root that stays elsewhere. */
async function intermediate(): Promise<{ readonly data: StringMap; readonly root: string }> {
  const root = await newSigner({ name: 'corporate root' })
  const sub = await newSigner({ name: 'mesh', issuer: root })
  const pem = (signer: Signer): string => `${signer.certificate.toString('pem')}\n`
  const data = {
    'ca-cert.pem': pem(sub),
    'ca-key.pem': await keyPemOf(sub.keys),
    'cert-chain.pem': pem(sub) + pem(root),
    'root-cert.pem': pem(root),
  }
  return { data: encodeData(data), root: rootsOf(pem(root))[0] ?? '' }
}

async function publicKeyOf(): Promise<Uint8Array> {
  const csr = await checkCsr((await createCsr({ id: ID })).csrPem)
  assert.ok(csr.ok)
  return csr.value.publicKey
}

const trusts = (a: Holder, b: Holder): boolean => a.bundle.some((root) => b.leaf.checkIssued(root) && b.leaf.verify(root.publicKey))

describe('controlplane/ca/root-keeper', () => {
  it('makes the root once, however many replicas start at the same time', async () => {
    const stage = new Stage()
    const keepers = await Promise.all(Array.from({ length: 4 }, () => stage.open()))
    assert.equal(new Set(keepers.map(({ live }) => live.rootsPem)).size, 1)
    assert.equal(keepers[0]?.live.rootsPem, text(stage.secret()?.data, 'root-cert.pem'))
    assert.equal(stage.log.lines.filter(({ message }) => message === 'root made').length, 1)
    assert.ok(!JSON.stringify(stage.log.lines).includes('PRIVATE'))
  })

  it('takes the root that is there', async () => {
    const stage = new Stage()
    const first = await stage.open()
    const again = await stage.open()
    assert.equal(again.live.rootsPem, first.live.rootsPem)
  })

  it('takes cacerts, an intermediate with its chain, and makes no root beside it', async () => {
    const stage = new Stage()
    const { data, root } = await intermediate()
    stage.put('cacerts', data)
    const keeper = await stage.open()
    assert.equal(stage.secret(), undefined)
    const issued = await keeper.live.current.issue({ publicKey: await publicKeyOf(), id: ID })
    assert.equal(issued.chainPem.length, 2)
    assert.deepEqual(rootsOf(issued.rootsPem), [root])
  })

  it('waits while the API is away, and ends at once when a right is missing', async () => {
    const stage = new Stage()
    let failures = 3
    stage.api.before = () => {
      if (failures-- > 0) throw objectFailure('API_UNREACHABLE')
    }
    const opening = stage.open()
    await stage.clock.advance(30_000)
    await opening
    const other = new Stage()
    other.api.before = (call) => {
      if (call.startsWith('create')) throw Object.assign(new Error('secrets is forbidden'), { code: 'FORBIDDEN' })
    }
    await assert.rejects(other.open(), { code: 'FORBIDDEN' })
  })

  const BROKEN: readonly { readonly name: string; readonly secret: string; data(good: StringMap): StringMap; readonly says: RegExp }[] = [
    { name: 'without a key', secret: 'weft-ca', data: ({ 'ca-key.pem': _, ...rest }) => rest, says: /lacks ca-key\.pem/ },
    { name: 'that is empty', secret: 'weft-ca', data: () => ({}), says: /lacks ca-cert\.pem and ca-key\.pem/ },
    { name: 'with another key', secret: 'weft-ca', data: (good) => ({ ...good, 'ca-key.pem': OTHER_KEY }), says: /does not belong/ },
    {
      name: 'with text for a certificate',
      secret: 'cacerts',
      data: (good) => ({ ...good, 'ca-cert.pem': 'aGVsbG8=' }),
      says: /no certificate/,
    },
    { name: 'of the operator without a key', secret: 'cacerts', data: ({ 'ca-key.pem': _, ...rest }) => rest, says: /cacerts lacks/ },
  ]
  for (const { name, secret, data, says } of BROKEN) {
    it(`refuses to start on a Secret ${name}, and never writes over it`, async () => {
      const stage = new Stage()
      const good = await newRoot(stage.clock)
      stage.put(secret, data(good))
      await assert.rejects(stage.open(), (error: Error & { code?: string }) => error.code === 'CA_STORE_BROKEN' && says.test(error.message))
      assert.ok(!stage.api.calls.some((call) => !call.startsWith('get')))
    })

    it(`keeps what is in force when a Secret ${name} comes later`, async () => {
      const stage = new Stage()
      const keeper = await stage.open()
      const before = keeper.live.rootsPem
      stage.put(secret, data(await newRoot(stage.clock)))
      await keeper.refresh()
      assert.equal(keeper.live.rootsPem, before)
      assert.ok(stage.said('the authority in force stays'))
    })
  }

  it('refuses a root of another trust domain', async () => {
    const stage = new Stage()
    await stage.open()
    await assert.rejects(stage.open(stage.leader, 'other.example'), { code: 'CA_STORE_BROKEN' })
  })

  it('follows a changed Secret by itself, without a restart', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    let changes = 0
    keeper.live.onChange(() => changes++)
    keeper.start()
    await stage.clock.advance(ROOT_POLL_MS * 3)
    assert.equal(changes, 0)
    const next = await newRoot(stage.clock)
    stage.put('weft-ca', next)
    await stage.clock.advance(ROOT_POLL_MS)
    for (let i = 0; i < 50 && changes === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(changes, 1)
    assert.equal(keeper.live.rootsPem, text(next, 'root-cert.pem'))
    keeper[Symbol.dispose]()
  })

  it('writes a deleted root back, as the leader only', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    const before = stage.secret()?.data
    stage.api.set('secrets', NAMESPACE, 'weft-ca', undefined)
    stage.leader.set(false)
    await keeper.refresh()
    assert.equal(stage.secret(), undefined)
    stage.leader.set(true)
    await keeper.refresh()
    assert.deepEqual(stage.secret()?.data, before)
  })
})

describe('controlplane/ca/root-keeper rotation', () => {
  it('at every moment every two certificates that are valid trust each other', async function () {
    this.timeout('20s')
    const stage = new Stage()
    const follower = new FakeLeader()
    follower.set(false)
    const keepers = [await stage.open(), await stage.open(follower)]
    const publicKey = await publicKeyOf()
    const [first = ''] = rootsOf(keepers[0]?.live.rootsPem ?? '')
    stage.put('weft-ca', stage.secret()?.data ?? {}, { [ROTATE_ANNOTATION]: 'now' })
    const bundles = new Set([first])
    let holders: Holder[] = []
    const steps = Math.ceil((2.4 * OVERLAP_MS) / (LIFE_MS / 5))
    for (let step = 0; step <= steps; step++) {
      for (const keeper of keepers) await keeper.refresh()
      holders = holders.filter(({ notAfterMs }) => notAfterMs > stage.clock.nowMs())
      for (const keeper of keepers) {
        const fresh = await enrol(keeper, publicKey)
        holders.push(fresh)
        for (const one of holders) assert.ok(trusts(fresh, one) && trusts(one, fresh), `step ${step}`)
      }
      bundles.add(rootsOf(keepers[0]?.live.rootsPem ?? '').join())
      await stage.clock.advance(LIFE_MS / 5)
    }
    const last = rootsOf(keepers[1]?.live.rootsPem ?? '')
    assert.equal(last.length, 1)
    assert.notEqual(last[0], first)
    assert.equal(bundles.size, 3, 'old, both, new')
    const { data = {}, metadata } = stage.secret() ?? ({ metadata: {} } as MeshObject)
    assert.deepEqual(Object.keys(data).sort(), ['ca-cert.pem', 'ca-key.pem', 'root-cert.pem'])
    assert.deepEqual(metadata.annotations, {})
    assert.deepEqual(
      stage.log.lines.filter(({ message }) => message === 'root rotation').map(({ fields }) => fields.step),
      ['begin', 'finish'],
    )
  })

  it('a naive switch would break that: the check is able to fail', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    const publicKey = await publicKeyOf()
    const before = await enrol(keeper, publicKey)
    stage.put('weft-ca', await newRoot(stage.clock))
    await keeper.refresh()
    const after = await enrol(keeper, publicKey)
    assert.ok(!trusts(before, after) && !trusts(after, before))
  })

  it('begins by itself when the root is in the last part of its life', async () => {
    const stage = new Stage()
    const lifeMs = 100 * OVERLAP_MS
    stage.put('weft-ca', await newRoot(stage.clock, lifeMs))
    const keeper = await stage.open()
    await stage.clock.advance(lifeMs * 0.79)
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 1)
    await stage.clock.advance(lifeMs * 0.02)
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 2)
  })

  it('is the leader’s: others only follow', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    stage.leader.set(false)
    stage.put('weft-ca', stage.secret()?.data ?? {}, { [ROTATE_ANNOTATION]: '' })
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 1)
  })

  it('loses to a change that came in between, and tries again', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    stage.put('weft-ca', stage.secret()?.data ?? {}, { [ROTATE_ANNOTATION]: '' })
    stage.api.before = (call) => {
      if (!call.startsWith('patch')) return
      stage.api.before = () => undefined
      stage.put('weft-ca', stage.secret()?.data ?? {}, { [ROTATE_ANNOTATION]: '', note: 'x' })
    }
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 1)
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 2)
    assert.equal(stage.secret()?.metadata.annotations?.note, 'x')
  })

  it('keeps roots that the operator added to the bundle', async () => {
    const stage = new Stage()
    const own = await newRoot(stage.clock)
    const foreign = text(await newRoot(stage.clock), 'root-cert.pem')
    const bundle = encodeData({ 'root-cert.pem': text(own, 'root-cert.pem') + foreign })
    stage.put('weft-ca', { ...own, ...bundle }, { [ROTATE_ANNOTATION]: '' })
    const keeper = await stage.open()
    await keeper.refresh()
    assert.equal(rootsOf(keeper.live.rootsPem).length, 3)
    await stage.clock.advance(2 * OVERLAP_MS)
    await keeper.refresh()
    const left = rootsOf(keeper.live.rootsPem)
    assert.equal(left.length, 2)
    assert.ok(left.includes(rootsOf(foreign)[0] ?? ''))
  })

  it('goes over to cacerts that come later: announced, then signing; and back when they go before that', async () => {
    const stage = new Stage()
    const keeper = await stage.open()
    const { data, root } = await intermediate()
    const own = rootsOf(keeper.live.rootsPem)
    const chainLength = async (): Promise<number> =>
      (await keeper.live.current.issue({ publicKey: await publicKeyOf(), id: ID })).chainPem.length
    stage.put('cacerts', data)
    await keeper.refresh()
    assert.deepEqual(rootsOf(keeper.live.rootsPem), [...own, root])
    assert.equal(await chainLength(), 1)
    stage.api.set('secrets', NAMESPACE, 'cacerts', undefined)
    await keeper.refresh()
    assert.deepEqual(rootsOf(keeper.live.rootsPem), own)
    assert.equal(stage.secret()?.metadata.annotations?.[CACERTS_ANNOTATION], undefined)
    stage.put('cacerts', data)
    await keeper.refresh()
    await stage.clock.advance(OVERLAP_MS - 1000)
    await keeper.refresh()
    assert.equal(await chainLength(), 1)
    await stage.clock.advance(2000)
    await keeper.refresh()
    assert.equal(await chainLength(), 2)
    assert.deepEqual(rootsOf(keeper.live.rootsPem), [...own, root])
    stage.api.set('secrets', NAMESPACE, 'weft-ca', undefined)
    await keeper.refresh()
    assert.deepEqual(rootsOf(keeper.live.rootsPem), [root], 'the operator has taken the old root away')
  })
})

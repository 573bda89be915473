// Bytes from outside that certs/ reads: PEM, requests, certificates, name lists, SPIFFE IDs. No input throws; what is
// accepted keeps the rules. Mutations start from real values, so that they get past the outer layers.
import '../../certs/x509.ts'
import assert from 'node:assert/strict'
import * as x509 from '@peculiar/x509'
import fc from 'fast-check'
import { parseBundle } from '../../certs/bundle.ts'
import { checkCsr, createCsr } from '../../certs/csr.ts'
import { readSequence } from '../../certs/der.ts'
import { formatPem, parsePem } from '../../certs/pem.ts'
import { parseSpiffeId } from '../../certs/spiffe.ts'
import { checkSvid } from '../../certs/svid.ts'
import { idOf, newLeaf, newSigner } from '../support/certificates.ts'
import { fuzzOptions } from '../support/fuzz.ts'

/** Edits of a byte string: at a place, replace, insert or cut. */
const edits = fc.array(fc.tuple(fc.nat(4095), fc.constantFrom('set', 'insert', 'cut'), fc.integer({ min: 0, max: 255 })), {
  minLength: 1,
  maxLength: 6,
})

function edited(bytes: Uint8Array, list: readonly (readonly [number, string, number])[]): Buffer {
  let out = Buffer.from(bytes)
  for (const [place, how, value] of list) {
    const at = place % (out.length + 1)
    if (how === 'set' && at < out.length) out[at] = value
    else if (how === 'insert') out = Buffer.concat([out.subarray(0, at), Buffer.from([value]), out.subarray(at)])
    else out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + (value % 16))])
  }
  return out
}

describe('fuzz: certs', function () {
  this.timeout(120_000)
  let csr: Buffer
  let leaf: Buffer
  before(async () => {
    csr = Buffer.from(new x509.Pkcs10CertificateRequest((await createCsr({ id: idOf('client') })).csrPem).rawData)
    leaf = Buffer.from((await newLeaf(await newSigner())).certificate.rawData)
  })

  it('SPIFFE IDs', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }).map((rest) => `spiffe://${rest}`),
      fc.string().map((rest) => `spiffe://a/${rest}`),
    )
    fc.assert(
      fc.property(text, (id) => {
        const parsed = parseSpiffeId(id)
        if (!parsed.ok) return
        assert.equal(`spiffe://${parsed.value.trustDomain}${parsed.value.path}`, id)
        assert.match(id, /^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/)
      }),
      fuzzOptions(),
    )
  })

  it('PEM', () => {
    const line = fc.constantFrom(
      '-----BEGIN CERTIFICATE-----',
      '-----END CERTIFICATE-----',
      '-----BEGIN X-----',
      'AAAA',
      'AA==',
      'A',
      '=',
      '',
      ' ',
      'Proc-Type: 4',
      '\r',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(fc.oneof(line, fc.base64String()), { maxLength: 12 }).map((lines) => lines.join('\n')),
        ),
        (text) => {
          const parsed = parsePem(text)
          if (parsed.ok)
            for (const { label, der } of parsed.value)
              assert.deepEqual(parsePem(formatPem(label, der)), { ok: true, value: [{ label, der }] })
          parseBundle(text, 'cluster.local')
        },
      ),
      fuzzOptions(),
    )
  })

  it('name lists in DER', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, isWrapped) => {
        const der = isWrapped && bytes.length < 128 ? Buffer.concat([Buffer.from([0x30, bytes.length]), bytes]) : bytes
        const read = readSequence(der)
        if (read.ok) assert.ok(read.value.reduce((sum, element) => sum + element.value.length + 2, 2) <= der.length)
      }),
      fuzzOptions(),
    )
  })

  it('requests', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          edits.map((list) => edited(csr, list)),
          fc.uint8Array({ maxLength: 400 }),
        ),
        async (der) => {
          const result = await checkCsr(formatPem('CERTIFICATE REQUEST', der))
          if (result.ok) assert.ok(result.value.publicKey.length > 80) // an edit that changes no signed byte
        },
      ),
      fuzzOptions(),
    )
  })

  it('certificates', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          edits.map((list) => edited(leaf, list)),
          fc.uint8Array({ maxLength: 400 }),
        ),
        (der) => {
          const checked = checkSvid(der, new Date())
          if (!checked.ok) assert.ok(checked.errors.length > 0)
          else assert.ok(parseSpiffeId(checked.value.id).ok)
        },
      ),
      fuzzOptions(),
    )
  })
})

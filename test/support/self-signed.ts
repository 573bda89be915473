// A self-signed serving certificate for tests that need TLS on loopback.
import '../../certs/x509.ts'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { formatPem } from '../../certs/pem.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** PEM of a P-256 certificate for one DNS name and of its key. */
export async function selfSigned(dnsName: string): Promise<{ certPem: string; keyPem: string }> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${dnsName}`,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(0),
    notAfter: new Date(4e12),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: dnsName }])],
  })
  const key = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  return { certPem: formatPem('CERTIFICATE', new Uint8Array(certificate.rawData)), keyPem: formatPem('PRIVATE KEY', key) }
}

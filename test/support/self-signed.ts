// A self-signed serving certificate for tests that need TLS on loopback.
import { execFileSync } from 'node:child_process'

/** PEM of a certificate for one DNS name and of its key. */
export async function selfSigned(dnsName: string): Promise<{ certPem: string; keyPem: string }> {
  const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', `/CN=${dnsName}`]
  const pem = execFileSync(
    'openssl',
    ['req', '-x509', ...options, '-addext', `subjectAltName=DNS:${dnsName}`, '-keyout', '-', '-out', '-'],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const [keyPem = '', certPem = ''] = pem.split(/(?=-----BEGIN CERTIFICATE)/)
  return { certPem, keyPem }
}

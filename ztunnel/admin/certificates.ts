// How the certificate of one identity is shown in /config_dump.
import { X509Certificate } from 'node:crypto'
import { messageOf } from '../../kit/error.ts'
import type { CertificateState } from '../../identity/manager.ts'
import type { CertificateDump, IdentityDump } from './config-dump.ts'

/** @returns the identity's state and the facts of its chain and roots; keys are never shown */
export function dumpIdentity(state: CertificateState): IdentityDump {
  const { id, certificate } = state
  if (certificate === undefined) {
    const reason = state.error === undefined ? 'Initializing' : `Unavailable: ${messageOf(state.error)}`
    return { identity: id, state: reason, certChain: [], rootCerts: [] }
  }
  return { identity: id, state: 'Available', certChain: dumpChain(certificate.chainPem), rootCerts: dumpChain(certificate.rootsPem) }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g

function dumpChain(pem: string): CertificateDump[] {
  return (pem.match(BLOCK) ?? []).map((block) => {
    const certificate = new X509Certificate(block)
    return {
      pem: Buffer.from(block).toString('base64'),
      serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
      validFrom: certificate.validFromDate.toISOString(),
      expirationTime: certificate.validToDate.toISOString(),
    }
  })
}

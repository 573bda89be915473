// The mesh's root on disk: made at the first start, reused after that, 0600. A root that is there and broken stops the process:
// a new root would cut off every proxy that trusts the old one.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CertificateAuthority, type CaLimits } from '../../certs/ca.ts'
import type { Clock } from '../../kit/clock.ts'
import { controlplaneFailure } from '../errors.ts'

/**
 * Opens or makes the CA in `dir` (0700; root.pem and root-key.pem, 0600).
 * @throws CA_STORE_BROKEN when the certificate is there and the pair cannot be used
 */
export async function openCa(options: {
  readonly dir: string
  readonly trustDomain: string
  readonly clock: Clock
  readonly limits?: CaLimits
}): Promise<CertificateAuthority> {
  const { dir } = options
  const certFile = join(dir, 'root.pem')
  const keyFile = join(dir, 'root-key.pem')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  // The key is written first: a key alone is a first start that was cut short, and no certificate was ever signed with it.
  if (!existsSync(certFile)) {
    const { authority, material } = await CertificateAuthority.selfSigned(options)
    replaceFile(keyFile, material.keyPem, 0o600)
    replaceFile(certFile, material.certChainPem, 0o600)
    return authority
  }
  try {
    const certChainPem = readFileSync(certFile, 'utf8')
    const keyPem = readFileSync(keyFile, 'utf8')
    return await CertificateAuthority.fromPem({ ...options, certChainPem, keyPem, rootsPem: certChainPem })
  } catch (cause) {
    throw controlplaneFailure('CA_STORE_BROKEN', { dir }, cause)
  }
}

/** Replaces a file in one step: readers see the old or the new text, also after a crash. */
export function replaceFile(path: string, text: string, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const fresh = `${path}.new`
  const fd = openSync(fresh, 'w', mode)
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(fresh, path)
}

// Texts of an AuthorizationPolicy's lists -> lists of a PolicyMatch. A list with one bad value is bad as a whole: leaving the
// value out could allow or deny something else than what was written.
import { parseCidr } from '../../model/address.ts'
import type { PolicyMatch, StringMatch } from '../../model/policy.ts'

/** A match under construction. */
export type MutableMatch = { -readonly [K in keyof PolicyMatch]: PolicyMatch[K] }

/** Parses texts into the match. @returns the first bad text, and then the match is unchanged */
export type Field = (match: MutableMatch, texts: readonly string[]) => string | undefined

type StringField = 'principals' | 'notPrincipals' | 'namespaces' | 'notNamespaces'
type CidrField = 'sourceIps' | 'notSourceIps' | 'destinationIps' | 'notDestinationIps'
type PortField = 'destinationPorts' | 'notDestinationPorts'
type AccountField = 'serviceAccounts' | 'notServiceAccounts'

/** `*` = presence, `abc*` = prefix, `*abc` = suffix, else exact. */
export function stringsOf(name: StringField, normal: (text: string) => string = (text) => text): Field {
  return (match, texts) => {
    const parsed = parseAll(texts, (text) => stringMatch(normal(text)))
    if ('bad' in parsed) return parsed.bad
    match[name] = parsed.values
    return undefined
  }
}

/** Address or CIDR. */
export function cidrsOf(name: CidrField): Field {
  return (match, texts) => {
    const parsed = parseAll(texts, parseCidr)
    if ('bad' in parsed) return parsed.bad
    match[name] = parsed.values
    return undefined
  }
}

/** Whole numbers from 1 to 65535. */
export function portsOf(name: PortField): Field {
  return (match, texts) => {
    const parsed = parseAll(texts, (text) => (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined))
    if ('bad' in parsed) return parsed.bad
    match[name] = parsed.values
    return undefined
  }
}

/** `NAMESPACE/ACCOUNT`, or `ACCOUNT` of the policy's own namespace. */
export function serviceAccountsOf(name: AccountField, ownNamespace: string): Field {
  return (match, texts) => {
    const parsed = parseAll(texts, (text) => {
      const found = /^(?:([a-z0-9.-]+)\/)?([a-z0-9.-]+)$/.exec(text)
      return found === null ? undefined : { namespace: found[1] ?? ownNamespace, serviceAccount: found[2] ?? '' }
    })
    if ('bad' in parsed) return parsed.bad
    match[name] = parsed.values
    return undefined
  }
}

/** `*` = presence, `abc*` = prefix, `*abc` = suffix, else exact; undefined = no pattern of this language. */
export function stringMatch(text: string): StringMatch | undefined {
  if (text === '') return undefined
  if (text === '*') return { kind: 'presence' }
  // A star in the middle is no pattern in this language: it would silently match only itself.
  if (text.slice(1, -1).includes('*') || (text.startsWith('*') && text.endsWith('*'))) return undefined
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) }
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) }
  return { kind: 'exact', value: text }
}

/** All values of a list, or the first that is bad. */
export function parseAll<T>(texts: readonly string[], parse: (text: string) => T | undefined): { values: T[] } | { bad: string } {
  const values: T[] = []
  for (const text of texts) {
    const value = parse(text)
    if (value === undefined) return { bad: text }
    values.push(value)
  }
  // An empty list in the source text would read as "no constraint".
  return values.length === 0 ? { bad: '' } : { values }
}

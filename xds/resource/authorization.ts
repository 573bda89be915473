// The xDS resource istio.security.Authorization, bytes <-> model. A policy that cannot be read is refused as a whole:
// dropping a part of it could allow what it denies.
import { type Result, success } from '../../kit/error.ts'
import { type Cidr, ipToBytes } from '../../model/address.ts'
import type { Authorization, PolicyAction, PolicyMatch, PolicyScope, ServiceAccountMatch, StringMatch } from '../../model/policy.ts'
import {
  Action,
  type Address as WireAddress,
  AuthorizationSchema,
  type Match,
  Scope,
  type ServiceAccountMatch as WireServiceAccount,
  type StringMatch as WireString,
} from '../../proto/authorization_pb.ts'
import { decodeMessage, encodeMessage } from '../../proto/wire.ts'
import { Faults } from './check.ts'
import { numberOf } from './gateway.ts'

const RULES_LIMIT = 16_384
const VALUES_LIMIT = 16_384

const SCOPES = {
  [Scope.GLOBAL]: 'GLOBAL',
  [Scope.NAMESPACE]: 'NAMESPACE',
  [Scope.WORKLOAD_SELECTOR]: 'WORKLOAD_SELECTOR',
} as const satisfies Readonly<Record<number, PolicyScope>>
/** By number on the wire. */
export const ACTIONS = { [Action.ALLOW]: 'ALLOW', [Action.DENY]: 'DENY' } as const satisfies Readonly<Record<number, PolicyAction>>

/** Decodes and checks one policy; on failure every fault found (at most 16). Never throws. */
export function decodeAuthorization(bytes: Uint8Array): Result<Authorization> {
  const message = decodeMessage(AuthorizationSchema, bytes)
  if (!message.ok) return message
  const wire = message.value
  const faults = new Faults()
  const value: Authorization = {
    name: faults.text('name', wire.name),
    namespace: faults.text('namespace', wire.namespace),
    scope: faults.choice('scope', wire.scope, SCOPES, 'GLOBAL'),
    action: faults.choice('action', wire.action, ACTIONS, 'DENY'),
    rules: faults
      .many('rules', wire.rules, RULES_LIMIT)
      .map((rule) =>
        faults
          .many('clauses', rule.clauses, RULES_LIMIT)
          .map((clause) => faults.many('matches', clause.matches, RULES_LIMIT).map((match) => matchFromWire(faults, match))),
      ),
    isDryRun: wire.dryRun,
  }
  if (wire.name === '') faults.note('name', 'is empty')
  // An extension of a match narrows it; a proxy that does not know the extension cannot decide.
  if (wire.rules.some((rule) => rule.clauses.some((clause) => clause.matches.some((match) => match.extensions.length > 0))))
    faults.note('extensions', 'a match has extensions that are not known here')
  return faults.list.length === 0 ? success(value) : { ok: false, errors: faults.list }
}

/** The resource's bytes; equal policies give equal bytes. */
export function encodeAuthorization(policy: Authorization): Buffer {
  return encodeMessage(AuthorizationSchema, {
    name: policy.name,
    namespace: policy.namespace,
    scope: numberOf(SCOPES, policy.scope),
    action: numberOf(ACTIONS, policy.action),
    rules: policy.rules.map((clauses) => ({ clauses: clauses.map((matches) => ({ matches: matches.map(matchToWire) })) })),
    dryRun: policy.isDryRun,
  })
}

/** One match; what is wrong is noted. */
export function matchFromWire(faults: Faults, wire: Match): PolicyMatch {
  const strings = (field: string, list: readonly WireString[]): StringMatch[] =>
    faults.many(field, list, VALUES_LIMIT).map((value) => stringFromWire(faults, field, value))
  const blocks = (field: string, list: readonly WireAddress[]): Cidr[] =>
    faults
      .many(field, list, VALUES_LIMIT)
      .map((block) => faults.cidr(field, block.address, block.length))
      .filter((block) => block !== undefined)
  const ports = (field: string, list: readonly number[]): number[] =>
    faults.many(field, list, VALUES_LIMIT).map((port) => faults.port(field, port, 0))
  const accounts = (field: string, list: readonly WireServiceAccount[]): ServiceAccountMatch[] =>
    faults.many(field, list, VALUES_LIMIT).map(({ namespace, serviceAccount }) => ({
      namespace: faults.text(field, namespace),
      serviceAccount: faults.text(field, serviceAccount),
    }))
  return {
    namespaces: strings('namespaces', wire.namespaces),
    notNamespaces: strings('not_namespaces', wire.notNamespaces),
    principals: strings('principals', wire.principals),
    notPrincipals: strings('not_principals', wire.notPrincipals),
    sourceIps: blocks('source_ips', wire.sourceIps),
    notSourceIps: blocks('not_source_ips', wire.notSourceIps),
    destinationIps: blocks('destination_ips', wire.destinationIps),
    notDestinationIps: blocks('not_destination_ips', wire.notDestinationIps),
    destinationPorts: ports('destination_ports', wire.destinationPorts),
    notDestinationPorts: ports('not_destination_ports', wire.notDestinationPorts),
    serviceAccounts: accounts('service_accounts', wire.serviceAccounts),
    notServiceAccounts: accounts('not_service_accounts', wire.notServiceAccounts),
  }
}

/** One text to compare with; one of an unknown kind is noted. */
export function stringFromWire(faults: Faults, field: string, { matchType }: WireString): StringMatch {
  switch (matchType.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return { kind: matchType.case, value: faults.text(field, matchType.value, 4096) }
    case 'presence':
      return { kind: 'presence' }
    default:
      faults.note(field, 'a value with no known kind of match')
      return { kind: 'presence' }
  }
}

/** The message of a match. */
export function matchToWire(match: PolicyMatch) {
  return {
    namespaces: match.namespaces.map(stringToWire),
    notNamespaces: match.notNamespaces.map(stringToWire),
    principals: match.principals.map(stringToWire),
    notPrincipals: match.notPrincipals.map(stringToWire),
    sourceIps: match.sourceIps.map(blockToWire),
    notSourceIps: match.notSourceIps.map(blockToWire),
    destinationIps: match.destinationIps.map(blockToWire),
    notDestinationIps: match.notDestinationIps.map(blockToWire),
    destinationPorts: [...match.destinationPorts],
    notDestinationPorts: [...match.notDestinationPorts],
    serviceAccounts: match.serviceAccounts.map((account) => ({ ...account })),
    notServiceAccounts: match.notServiceAccounts.map((account) => ({ ...account })),
  }
}

/** The message of a text to compare with. */
export function stringToWire(match: StringMatch) {
  if (match.kind === 'presence') return { matchType: { case: 'presence' as const, value: {} } }
  return { matchType: { case: match.kind, value: match.value } }
}

function blockToWire({ ip, prefix }: Cidr) {
  return { address: ipToBytes(ip), length: prefix }
}

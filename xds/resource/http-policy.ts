// weft.gateway.v1.HttpPolicy, a part of Listener: message <-> model. What cannot be read makes the listener unreadable: a part of a policy
// that is left out could allow what it denies.
import type { HeaderCondition, HttpPolicy, HttpPolicyMatch } from '../../model/http-policy.ts'
import { EMPTY_MATCH, type StringMatch } from '../../model/policy.ts'
import type { StringMatch as WireString } from '../../proto/authorization_pb.ts'
import type { HttpPolicy as WirePolicy, HttpPolicyMatch as WireMatch } from '../../proto/gateway_pb.ts'
import { ACTIONS, matchFromWire, matchToWire, stringFromWire, stringToWire } from './authorization.ts'
import type { Faults } from './check.ts'
import { numberOf } from './gateway.ts'

const POLICIES_LIMIT = 1024
const RULES_LIMIT = 16_384
const VALUES_LIMIT = 16_384

/** All policies of a listener; what is wrong is noted. */
export function httpPoliciesFromWire(faults: Faults, list: readonly WirePolicy[]): HttpPolicy[] {
  return faults.many('authorization', list, POLICIES_LIMIT).map((wire) => {
    if (wire.name === '') faults.note('authorization.name', 'is empty')
    return {
      name: faults.text('authorization.name', wire.name),
      action: faults.choice('authorization.action', wire.action, ACTIONS, 'DENY'),
      rules: faults
        .many('authorization.rules', wire.rules, RULES_LIMIT)
        .map(({ clauses }) =>
          faults
            .many('authorization.clauses', clauses, RULES_LIMIT)
            .map(({ matches }) => faults.many('authorization.matches', matches, RULES_LIMIT).map((match) => fromWire(faults, match))),
        ),
      isGatewayWide: wire.gatewayWide,
    }
  })
}

/** The message of a policy. */
export function httpPolicyToWire({ name, action, rules, isGatewayWide }: HttpPolicy) {
  return {
    name,
    action: numberOf(ACTIONS, action),
    rules: rules.map((clauses) => ({ clauses: clauses.map((matches) => ({ matches: matches.map(toWire) })) })),
    gatewayWide: isGatewayWide,
  }
}

function fromWire(faults: Faults, wire: WireMatch): HttpPolicyMatch {
  const texts = (field: string, list: readonly WireString[]): StringMatch[] =>
    faults.many(field, list, VALUES_LIMIT).map((value) => stringFromWire(faults, field, value))
  const extensions = wire.connection?.extensions ?? []
  if (extensions.length > 0) faults.note('authorization.connection', 'has extensions that are not known here')
  return {
    connection: wire.connection === undefined ? EMPTY_MATCH : matchFromWire(faults, wire.connection),
    hosts: texts('hosts', wire.hosts),
    notHosts: texts('not_hosts', wire.notHosts),
    methods: texts('methods', wire.methods),
    notMethods: texts('not_methods', wire.notMethods),
    paths: texts('paths', wire.paths),
    notPaths: texts('not_paths', wire.notPaths),
    headers: faults.many('headers', wire.headers, VALUES_LIMIT).map(
      ({ name, values, notValues }): HeaderCondition => ({
        name: faults.text('headers.name', name),
        values: texts('headers.values', values),
        notValues: texts('headers.not_values', notValues),
      }),
    ),
  }
}

function toWire(match: HttpPolicyMatch) {
  return {
    connection: matchToWire(match.connection),
    hosts: match.hosts.map(stringToWire),
    notHosts: match.notHosts.map(stringToWire),
    methods: match.methods.map(stringToWire),
    notMethods: match.notMethods.map(stringToWire),
    paths: match.paths.map(stringToWire),
    notPaths: match.notPaths.map(stringToWire),
    headers: match.headers.map(({ name, values, notValues }) => ({
      name,
      values: values.map(stringToWire),
      notValues: notValues.map(stringToWire),
    })),
  }
}

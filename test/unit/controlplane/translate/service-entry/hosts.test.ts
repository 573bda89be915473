// Which hosts an entry of namespace `shop` may have.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { problemOfHost } from '../../../../../controlplane/translate/service-entry/hosts.ts'

const RULES = { clusterDomain: 'cluster.local', hasNamespace: (name: string) => ['shop', 'bank', 'io'].includes(name) }

const ROWS: readonly (readonly [host: string, problem: RegExp | undefined])[] = [
  ['api.example.com', undefined],
  ['*.example.com', undefined],
  ['example.com', undefined],
  ['*.com', undefined],
  ['payments.bank.example', undefined],
  ['cart.shop', undefined],
  ['legacy.shop.svc.cluster.local', undefined],
  ['a.b.shop.svc.cluster.local', undefined],
  ['legacy.shop.svc', undefined],
  ['svc.example.com', undefined],
  ['cart', /without a dot/],
  ['localhost', /without a dot/],
  ['payments.bank', /Services of namespace bank/],
  ['github.io', /Services of namespace io/],
  ['*.bank', /Services of namespace bank/],
  ['payments.bank.svc', /names of svc belong/],
  ['payments.bank.svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['*.bank.svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['*.shop.svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['shop.svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['*.svc.cluster.local', /names of svc\.cluster\.local belong/],
  ['*.svc', /names of svc belong/],
  ['x.cluster.local', /names of cluster\.local belong/],
  ['*.cluster.local', /names of cluster\.local belong/],
  ['cluster.local', /names of cluster\.local belong/],
  ['*.local', /names of cluster\.local belong/],
]

describe('controlplane/translate/service-entry/hosts', () => {
  for (const [host, problem] of ROWS) {
    it(`${host}: ${problem === undefined ? 'may be' : 'somebody else’s'}`, () => {
      const found = problemOfHost(host, 'shop', RULES)
      if (problem === undefined) assert.equal(found, undefined)
      else assert.match(found ?? 'taken', problem)
    })
  }
})

// VirtualService matches, field by field: what they become, and what drops an entry.
import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { EVERYTHING, isForPort, routeMatchOf } from '../../../../../controlplane/translate/istio/matches.ts'
import type { IstioHttpMatch } from '../../../../../model/istio-networking.ts'
import type { RouteMatch } from '../../../../../model/route.ts'
import { noted } from '../../../../support/istio-world.ts'

interface Row {
  readonly name: string
  readonly given: IstioHttpMatch
  readonly want?: Partial<RouteMatch>
  readonly notes?: readonly RegExp[]
}

const named = (name: string, match: RouteMatch['headers'][number]['match'], isInverted = false) => ({ name, match, isInverted })

const ROWS: readonly Row[] = [
  { name: 'nothing: everything', given: {} },
  { name: 'exact path', given: { uri: { exact: '/a' } }, want: { path: { kind: 'exact', value: '/a', ignoresCase: false } } },
  {
    name: 'prefix is one of characters',
    given: { uri: { prefix: '/a' } },
    want: { path: { kind: 'textPrefix', value: '/a', ignoresCase: false } },
  },
  {
    name: 'ignoreUriCase',
    given: { uri: { prefix: '/A' }, ignoreUriCase: true },
    want: { path: { kind: 'textPrefix', value: '/A', ignoresCase: true } },
  },
  {
    name: 'a regex says itself how it takes case',
    given: { uri: { regex: '/a.*' }, ignoreUriCase: true },
    want: { path: { kind: 'regex', value: '/a.*', ignoresCase: false } },
  },
  {
    name: 'a regex that is not RE2',
    given: { uri: { regex: '(?=a)' } },
    want: { path: { kind: 'regex', value: '(?=a)', ignoresCase: false } },
    notes: [/^dropped m\.uri: regex .* is not RE2 syntax/],
  },
  { name: 'an empty uri', given: { uri: {} } },
  { name: 'method', given: { method: { exact: 'GET' } }, want: { method: { kind: 'exact', value: 'GET' } } },
  { name: 'method by regex', given: { method: { regex: 'GET|HEAD' } }, want: { method: { kind: 'regex', value: 'GET|HEAD' } } },
  { name: 'authority', given: { authority: { prefix: 'cart' } }, want: { authority: { kind: 'prefix', value: 'cart' } } },
  {
    name: 'headers, names in lower case',
    given: { headers: { 'End-User': { exact: 'jason' }, 'x-any': {} } },
    want: { headers: [named('end-user', { kind: 'exact', value: 'jason' }), named('x-any', { kind: 'present' })] },
  },
  {
    name: 'an empty prefix and * are any value',
    given: { headers: { a: { prefix: '' }, b: { regex: '*' } } },
    want: { headers: [named('a', { kind: 'present' }), named('b', { kind: 'present' })] },
  },
  {
    name: 'withoutHeaders',
    given: { withoutHeaders: { a: { prefix: 'x' }, b: {} } },
    want: { headers: [named('a', { kind: 'prefix', value: 'x' }, true), named('b', { kind: 'present' }, true)] },
  },
  {
    name: 'a bad regex of a header',
    given: { headers: { a: { regex: '[' } } },
    want: { headers: [named('a', { kind: 'regex', value: '[' })] },
    notes: [/^dropped m\.headers\.a: regex/],
  },
  {
    name: 'a pseudo-header',
    given: { headers: { ':method': { exact: 'GET' } } },
    want: { headers: [named(':method', { kind: 'exact', value: 'GET' })] },
    notes: [/^dropped m\.headers\.:method: is no header/],
  },
  {
    name: 'a key that Istio ignores',
    given: { headers: { uri: { exact: '/a' } } },
    want: { headers: [named('uri', { kind: 'exact', value: '/a' })] },
    notes: [/^dropped m\.headers\.uri/],
  },
  {
    name: 'query parameters keep their case',
    given: { queryParams: { Q: { exact: '1' }, r: { regex: '\\d+' } } },
    want: { query: [named('Q', { kind: 'exact', value: '1' }), named('r', { kind: 'regex', value: '\\d+' })] },
  },
  { name: 'source namespace', given: { sourceNamespace: 'web' }, want: { sourceNamespace: 'web' } },
  {
    name: 'a source namespace that is none',
    given: { sourceNamespace: 'Web!' },
    want: { sourceNamespace: 'Web!' },
    notes: [/^dropped m\.sourceNamespace/],
  },
  { name: 'source labels', given: { sourceLabels: { app: 'a', version: 'v1' } }, want: { sourceLabels: { app: 'a', version: 'v1' } } },
  {
    name: 'a source label that proxies do not know',
    given: { sourceLabels: { tier: 'x' } },
    want: { sourceLabels: { tier: 'x' } },
    notes: [/^dropped m\.sourceLabels: label tier/],
  },
  { name: 'scheme http', given: { scheme: { exact: 'http' } } },
  { name: 'scheme https', given: { scheme: { exact: 'https' } }, notes: [/^dropped m\.scheme/] },
  { name: 'statPrefix', given: { statPrefix: 'x' }, notes: [/^ignored m\.statPrefix: is not supported/] },
]

describe('controlplane/translate/istio/matches', () => {
  for (const { name, given, want = {}, notes = [] } of ROWS) {
    it(name, () => {
      const got = noted((own) => routeMatchOf(given, 'm', own))
      assert.deepEqual(got.value, { ...EVERYTHING, ...want })
      assert.equal(got.notes.length, notes.length, got.notes.join('\n'))
      for (const [i, note] of notes.entries()) assert.match(got.notes[i] ?? '', note)
    })
  }

  for (const { name, given, want } of [
    { name: 'any port', given: {}, want: true },
    { name: 'this port', given: { port: 80 }, want: true },
    { name: 'another port', given: { port: 81 }, want: false },
    { name: 'the mesh among gateways', given: { gateways: ['ingress', 'mesh'] }, want: true },
    { name: 'only another gateway', given: { gateways: ['ingress'] }, want: false },
  ]) {
    it(`is for the port: ${name}`, () => assert.equal(isForPort(given, 80), want))
  }
})

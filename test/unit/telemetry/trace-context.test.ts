// W3C Trace Context, clause by clause: what is valid goes on as it is, what is not starts a new trace.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HeaderField } from '../../../model/http.ts'
import {
  childContext,
  formatTraceparent,
  parseTraceparent,
  parseTracestate,
  traceContextIn,
  withTraceContext,
} from '../../../telemetry/trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const GOOD = `00-${TRACE}-${SPAN}-01`

const PARENTS: readonly { readonly name: string; readonly given: string; readonly want: boolean | undefined }[] = [
  { name: 'a sampled one', given: GOOD, want: true },
  { name: 'one that is not sampled', given: `00-${TRACE}-${SPAN}-00`, want: false },
  { name: 'flags that are not known', given: `00-${TRACE}-${SPAN}-fe`, want: false },
  { name: 'a later version', given: `cc-${TRACE}-${SPAN}-01`, want: true },
  { name: 'a later version with more', given: `cc-${TRACE}-${SPAN}-01-what-the-future-brings`, want: true },
  { name: 'a later version with more and no dash', given: `cc-${TRACE}-${SPAN}-01.what`, want: undefined },
  { name: 'version 00 with more', given: `${GOOD}-00`, want: undefined },
  { name: 'version 00 with a dash behind', given: `${GOOD}-`, want: undefined },
  { name: 'version ff', given: `ff-${TRACE}-${SPAN}-01`, want: undefined },
  { name: 'capitals in the trace', given: `00-${TRACE.toUpperCase()}-${SPAN}-01`, want: undefined },
  { name: 'capitals in the flags', given: `00-${TRACE}-${SPAN}-0A`, want: undefined },
  { name: 'a trace of zeros', given: `00-${'0'.repeat(32)}-${SPAN}-01`, want: undefined },
  { name: 'a span of zeros', given: `00-${TRACE}-${'0'.repeat(16)}-01`, want: undefined },
  { name: 'a short trace', given: `00-${TRACE.slice(1)}-${SPAN}-01`, want: undefined },
  { name: 'a long span', given: `00-${TRACE}-${SPAN}0-01`, want: undefined },
  { name: 'flags that are no number', given: `00-${TRACE}-${SPAN}-.1`, want: undefined },
  { name: 'a space before', given: ` ${GOOD}`, want: undefined },
  { name: 'a line feed behind', given: `${GOOD}\n`, want: undefined },
  { name: 'two in one', given: `${GOOD},${GOOD}`, want: undefined },
  { name: 'an empty text', given: '', want: undefined },
  { name: 'a huge text', given: `00-${'a'.repeat(60_000)}`, want: undefined },
]

const STATES: readonly { readonly name: string; readonly given: readonly string[]; readonly want: string }[] = [
  { name: 'a list', given: ['foo=1,bar=2'], want: 'foo=1,bar=2' },
  { name: 'several fields', given: ['foo=1', 'bar=2'], want: 'foo=1,bar=2' },
  { name: 'space around members', given: ['foo=1 \t,  bar=2'], want: 'foo=1,bar=2' },
  { name: 'members without anything', given: ['foo=1,,', '', 'bar=2'], want: 'foo=1,bar=2' },
  { name: 'a tenant', given: ['0t-*/_@vendor=x'], want: '0t-*/_@vendor=x' },
  { name: 'a space inside a value', given: ['foo=a b'], want: 'foo=a b' },
  { name: 'no field', given: [], want: '' },
  { name: 'the same key twice', given: ['foo=1,foo=2'], want: '' },
  { name: 'a member without a value', given: ['foo'], want: '' },
  { name: 'a value that is empty', given: ['foo='], want: '' },
  { name: 'a value with an equals sign', given: ['foo=a=b'], want: '' },
  { name: 'a key with a capital', given: ['Foo=1'], want: '' },
  { name: 'a key that begins with a digit', given: ['1foo=1'], want: '' },
  { name: 'two tenants', given: ['a@b@c=1'], want: '' },
  { name: 'a tenant without a system', given: ['a@=1'], want: '' },
  { name: 'a control character', given: ['foo=\x01'], want: '' },
  { name: 'a byte above ASCII', given: ['foo=\xff'], want: '' },
  {
    name: '32 members',
    given: [Array.from({ length: 32 }, (_, n) => `k${n}=1`).join()],
    want: Array.from({ length: 32 }, (_, n) => `k${n}=1`).join(),
  },
  { name: '33 members', given: [Array.from({ length: 33 }, (_, n) => `k${n}=1`).join()], want: '' },
  { name: 'a key of 257 characters', given: [`${'k'.repeat(257)}=1`], want: '' },
  { name: 'a value of 257 characters', given: [`k=${'v'.repeat(257)}`], want: '' },
  { name: 'more than 512 characters', given: [`a=${'1'.repeat(250)}`, `b=${'1'.repeat(250)}`, `c=${'1'.repeat(250)}`], want: '' },
]

const REQUESTS: readonly { readonly name: string; readonly given: readonly HeaderField[]; readonly want: string | undefined }[] = [
  { name: 'nothing', given: [['accept', '*/*']], want: undefined },
  { name: 'a parent', given: [['traceparent', GOOD]], want: '' },
  {
    name: 'a parent and a state',
    given: [
      ['tracestate', 'a=1'],
      ['traceparent', GOOD],
      ['tracestate', 'b=2'],
    ],
    want: 'a=1,b=2',
  },
  {
    name: 'a parent and a broken state',
    given: [
      ['traceparent', GOOD],
      ['tracestate', 'A=1'],
    ],
    want: '',
  },
  { name: 'a state alone', given: [['tracestate', 'a=1']], want: undefined },
  {
    name: 'two parents',
    given: [
      ['traceparent', GOOD],
      ['traceparent', GOOD],
    ],
    want: undefined,
  },
]

describe('trace context', () => {
  for (const { name, given, want } of PARENTS) {
    it(`${want === undefined ? 'refuses' : 'takes'} a traceparent of ${name}`, () => {
      assert.deepEqual(parseTraceparent(given), want === undefined ? undefined : { traceId: TRACE, spanId: SPAN, isSampled: want })
    })
  }

  for (const { name, given, want } of STATES) {
    it(`${want === '' ? 'drops' : 'takes'} a tracestate of ${name}`, () => assert.equal(parseTracestate(given), want))
  }

  for (const { name, given, want } of REQUESTS) {
    it(`finds ${want === undefined ? 'no context' : 'the context'} in ${name}`, () => assert.equal(traceContextIn(given)?.state, want))
  }

  it('continues a trace with another span, and keeps its decision', () => {
    const parent = { traceId: TRACE, spanId: SPAN, isSampled: false, state: 'a=1' }
    const child = childContext(parent, true, (count) => Buffer.alloc(count, 7))
    assert.deepEqual(child, { ...parent, spanId: '07'.repeat(8) })
  })

  it('begins a trace, never one of zeros', () => {
    const context = childContext(undefined, true, (count) => Buffer.alloc(count))
    assert.equal(formatTraceparent(context), `00-${'0'.repeat(31)}1-${'0'.repeat(15)}1-01`)
    assert.deepEqual(parseTraceparent(formatTraceparent(context))?.traceId, context.traceId)
  })

  it('replaces the headers of another context', () => {
    const headers: HeaderField[] = [
      ['traceparent', 'x'],
      ['accept', '*/*'],
      ['tracestate', 'y'],
      ['tracestate', 'z'],
    ]
    const context = { traceId: TRACE, spanId: SPAN, isSampled: true, state: '' }
    assert.deepEqual(withTraceContext(headers, context), [
      ['accept', '*/*'],
      ['traceparent', GOOD],
    ])
    assert.deepEqual(withTraceContext([], { ...context, state: 'a=1' }), [
      ['traceparent', GOOD],
      ['tracestate', 'a=1'],
    ])
  })

  it('survives any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string({ unit: 'binary' })), (parent, states) => {
        const context = traceContextIn([['traceparent', parent], ...states.map((state): HeaderField => ['tracestate', state])])
        assert.equal(context, undefined)
        assert.match(parseTracestate(states), /^[\x20-\x7e]*$/)
      }),
    )
  })
})

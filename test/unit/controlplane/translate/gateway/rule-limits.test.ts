// Timeouts, retries, sessions, and names of rules.
import { answers500, checkRows, ruleOf, type RouteRow } from '../../../../support/route-rows.ts'

const ROWS: readonly RouteRow[] = [
  {
    name: 'timeouts',
    rules: [{ timeouts: { request: '1m1s', backendRequest: '500ms' } }],
    want: (all) => ruleOf(all).timeouts,
    is: { requestMs: 61_000, backendRequestMs: 500 },
  },
  {
    name: '0s is no timeout',
    rules: [{ timeouts: { request: '0s', backendRequest: '2s' } }],
    want: (all) => ruleOf(all).timeouts,
    is: { requestMs: undefined, backendRequestMs: 2000 },
  },
  {
    name: 'a try longer than the request',
    rules: [{ timeouts: { request: '1s', backendRequest: '2s' } }],
    want: answers500,
    is: [['invalid']],
    says: [/rules\[0\]\.timeouts\.backendRequest: is longer than request/, /^ResolvedRefs/],
  },
  {
    name: 'longer than a timer',
    rules: [{ timeouts: { request: '99999h' } }],
    want: answers500,
    is: [['invalid']],
    says: [/longer than 596 hours/, /^ResolvedRefs/],
  },
  { name: 'no retry stanza', rules: [{}], want: (all) => ruleOf(all).retry, is: undefined },
  {
    name: 'retry defaults',
    rules: [{ retry: {} }],
    want: (all) => ruleOf(all).retry,
    is: { attempts: 1, codes: [], conditions: ['connect-failure', 'refused-stream', 'reset'], backoffMs: 25, perTryMs: undefined },
  },
  {
    name: 'retry',
    rules: [{ retry: { attempts: 3, codes: [500, 503], backoff: '100ms' } }],
    want: (all) => [ruleOf(all).retry?.attempts, ruleOf(all).retry?.codes, ruleOf(all).retry?.backoffMs],
    is: [3, [500, 503], 100],
  },
  {
    name: 'too many retries',
    rules: [{ retry: { attempts: 11 } }],
    want: answers500,
    is: [['invalid']],
    says: [/more than 10 retries are not made/, /^ResolvedRefs/],
  },
  {
    name: 'session cookie',
    rules: [{ matches: [{ path: { value: '/a' } }], sessionPersistence: { cookie: { name: 'sid' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'sid', kind: 'cookie', cookiePath: '/a', absoluteTimeoutSeconds: undefined },
  },
  {
    name: 'permanent cookie',
    rules: [{ name: 'main', sessionPersistence: { absoluteTimeout: '1h', cookie: { lifetimeType: 'Permanent' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'weft-shop-r-main', kind: 'cookie', cookiePath: '/', absoluteTimeoutSeconds: 3600 },
  },
  {
    name: 'session in a header',
    rules: [{ sessionPersistence: { type: 'Header', header: { name: 'X-Session' } } }],
    want: (all) => ruleOf(all).sessionPersistence,
    is: { name: 'x-session', kind: 'header', cookiePath: '/', absoluteTimeoutSeconds: undefined },
  },
  {
    name: 'session of an older API',
    rules: [{ sessionPersistence: { sessionName: 'old', cookieConfig: { lifetimeType: 'Session' } } }],
    want: (all) => ruleOf(all).sessionPersistence?.name,
    is: 'old',
  },
  {
    name: 'idle timeout of a session',
    rules: [{ sessionPersistence: { idleTimeout: '1h' } }],
    want: answers500,
    is: [['invalid']],
    says: [/idleTimeout: is not supported/, /^ResolvedRefs/],
  },
  {
    name: 'a cookie that would set others',
    rules: [{ sessionPersistence: { cookie: { name: 'a; b' } } }],
    want: answers500,
    is: [['invalid']],
    says: [/"a; b" is not a name of a session/, /^ResolvedRefs/],
  },
  {
    name: 'rule names are in the name of the route',
    rules: [{ name: 'first' }, {}],
    want: (all) => all.map(({ name }) => name),
    is: ['HTTPRoute/shop/r/first', 'HTTPRoute/shop/r/1'],
  },
]

checkRows('controlplane/translate/gateway/rule-limits', ROWS)

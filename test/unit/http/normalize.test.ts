// Targets and authorities: one spelling, or a refusal. Tables, and every trick at every place against models of servers.
import assert from 'node:assert/strict'
import { normalizeAuthority, normalizeTarget, splitAbsolute } from '../../../http/normalize.ts'
import { proxyBytes } from '../../support/http1-proxy.ts'
import { decode, SECRET, SERVERS, spellings } from '../../support/path-spellings.ts'

/** raw -> `path?query`; undefined = refused. */
const TARGETS: readonly (readonly [raw: string, want: string | undefined])[] = [
  ['/', '/'],
  ['*', '*'],
  ['/a', '/a'],
  ['/a/', '/a/'],
  ['/a/b.c/~d_e-f', '/a/b.c/~d_e-f'],
  ["/a:b@c!d$e&f'g(h)i*j+k,l;m=n", "/a:b@c!d$e&f'g(h)i*j+k,l;m=n"],
  ['/[id].js', '/[id].js'],
  ['/a|b', '/a|b'],
  ['/a?', '/a?'],
  ['/a?b=c', '/a?b=c'],
  ['/a?b=c?d=e', '/a?b=c?d=e'],
  ['/a?../b//c/./d', '/a?../b//c/./d'],
  ['/a?%zz', '/a?%zz'],
  ['/a?%2F%2e%00', '/a?%2F%2e%00'],
  ['/a?"<>\\^`{|}', '/a?"<>\\^`{|}'],
  ['/a?[x]=y', '/a?[x]=y'],
  ['/a?#', undefined],
  ['/a?b#c', undefined],
  ['/a?b c', undefined],
  ['/a?\t', undefined],
  ['/a?\x00', undefined],
  ['/a?\xe9', undefined],
  ['/%41%42%5A', '/ABZ'],
  ['/%61%7a', '/az'],
  ['/%30%39', '/09'],
  ['/%2d%2E%5f%7E', '/-._~'],
  ['/a%20b', '/a%20b'],
  ['/%c3%a9', '/%C3%A9'],
  ['/%e2%82%ac', '/%E2%82%AC'],
  ['/%f0%9f%98%80', '/%F0%9F%98%80'],
  ['/%3a%40%21', '/%3A%40%21'],
  ['/a%3fb', '/a%3Fb'],
  ['/a%23b', '/a%23b'],
  ['/100%25', '/100%25'],
  ['/%25', '/%25'],
  ['/%2541', '/%2541'],
  ['/%2525', '/%2525'],
  ['/%3b', undefined],
  ['/a%3bb', '/a%3Bb'],
  ['/a;b/c;d=e', '/a;b/c;d=e'],
  ['/a//b', '/a/b'],
  ['//', '/'],
  ['///', '/'],
  ['//a', '/a'],
  ['//evil.example/x', '/evil.example/x'],
  ['/a//', '/a/'],
  ['/a///b//', '/a/b/'],
  ['/.', '/'],
  ['/./', '/'],
  ['/./a', '/a'],
  ['/a/.', '/a/'],
  ['/a/./b', '/a/b'],
  ['/a/././b/.', '/a/b/'],
  ['/a/..', '/'],
  ['/a/../', '/'],
  ['/a/../b', '/b'],
  ['/a/b/..', '/a/'],
  ['/a/b/../../c', '/c'],
  ['/a/b/../c/./../d', '/a/d'],
  ['/a/%2e%2e/b', '/b'],
  ['/a/%2E./b', '/b'],
  ['/a/.%2e', '/'],
  ['/%2e', '/'],
  ['/...', '/...'],
  ['/.../a', '/.../a'],
  ['/..a', '/..a'],
  ['/a..', '/a..'],
  ['/.a', '/.a'],
  ['/a.', '/a.'],
  ['/a./b', '/a./b'],
  ['/.well-known/x', '/.well-known/x'],
  ['/a/.git/..b', '/a/.git/..b'],
  ['/..', undefined],
  ['/../', undefined],
  ['/../a', undefined],
  ['/a/../..', undefined],
  ['/a/../../b', undefined],
  ['/%2e%2e/a', undefined],
  ['/./..', undefined],
  ['//..', undefined],
  ['/a//../b', undefined],
  ['/a//./../b', undefined],
  ['/a//b/../../c', undefined],
  ['/a//b/../c', '/a/c'],
  ['', undefined],
  ['a', undefined],
  ['?', undefined],
  ['a/b', undefined],
  ['.', undefined],
  ['../a', undefined],
  ['%2f', undefined],
  ['**', undefined],
  ['*?a', undefined],
  ['http://h/', undefined],
  ['\\a', undefined],
  ['/\\a', undefined],
  ['/a\\b', undefined],
  ['/a#b', undefined],
  ['/#', undefined],
  ['/a b', undefined],
  ['/a\tb', undefined],
  ['/a\rb', undefined],
  ['/a\nb', undefined],
  ['/a\x00b', undefined],
  ['/a\x01b', undefined],
  ['/a\x7fb', undefined],
  ['/a\x80b', undefined],
  ['/a\xe9b', undefined],
  ['/a\u0100b', undefined],
  ['/a\uff0fb', undefined],
  ['/"', undefined],
  ['/<', undefined],
  ['/>', undefined],
  ['/^', undefined],
  ['/`', undefined],
  ['/{', undefined],
  ['/}', undefined],
  ['/%', undefined],
  ['/%2', undefined],
  ['/%g0', undefined],
  ['/%0g', undefined],
  ['/% 1', undefined],
  ['/%-1', undefined],
  ['/%+1', undefined],
  ['/%0x41', undefined],
  ['/%u0041', undefined],
  ['/a%?b', undefined],
  ['/%2f', undefined],
  ['/a%2Fb', undefined],
  ['/%5c', undefined],
  ['/a%5Cb', undefined],
  ['/%00', undefined],
  ['/a%00b', undefined],
  ['/%0a', undefined],
  ['/%0D%0a', undefined],
  ['/%1f', undefined],
  ['/%09', undefined],
  ['/%7f', undefined],
  ['/%252e', undefined],
  ['/%252E%252e/', undefined],
  ['/%252f', undefined],
  ['/%255c', undefined],
  ['/%2500', undefined],
  ['/%25252f', undefined],
  ['/%25%32%65', undefined],
  ['/%25%32f', undefined],
  ['/%c0%ae', undefined],
  ['/%C0%AF', undefined],
  ['/%c1%9c', undefined],
  ['/%e0%80%af', undefined],
  ['/%f0%80%80%af', undefined],
  ['/%f8%80%80%80%af', undefined],
  ['/%e0%a4%a4', '/%E0%A4%A4'],
  ['/%c3', '/%C3'],
  ['/%e9', '/%E9'],
  ['/;', undefined],
  ['/;a', undefined],
  ['/;/a', undefined],
  ['/a/;b/c', undefined],
  ['/.;', undefined],
  ['/.;/a', undefined],
  ['/..;', undefined],
  ['/a/..;/b', undefined],
  ['/a/..;x/b', undefined],
  ['/a/..;x=y', undefined],
  ['/a/%2e%2e;/b', undefined],
  ['/a/..%3b/b', undefined],
  ['/a/.%3Bx/b', undefined],
  ['/a/...;x', '/a/...;x'],
]

/** raw -> normal form; undefined = refused. */
const AUTHORITIES: readonly (readonly [raw: string, want: string | undefined])[] = [
  ['h', 'h'],
  ['example.com', 'example.com'],
  ['EXAMPLE.Com', 'example.com'],
  ['example.com:80', 'example.com:80'],
  ['Example.com:8080', 'example.com:8080'],
  ['example.com.', 'example.com'],
  ['example.com.:80', 'example.com:80'],
  ['a-b_c.d', 'a-b_c.d'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['10.0.0.1', '10.0.0.1'],
  ['10.0.0.1:65535', '10.0.0.1:65535'],
  ['10.0.0.1.', '10.0.0.1'],
  ['[::1]', '[::1]'],
  ['[::1]:80', '[::1]:80'],
  ['[FD00:0:0::7]', '[fd00::7]'],
  ['[0:0:0:0:0:0:0:1]', '[::1]'],
  ['[::ffff:10.0.0.1]', '10.0.0.1'],
  ['[::ffff:a00:1]:80', '10.0.0.1:80'],
  ['1e100.net', '1e100.net'],
  ['3com', '3com'],
  ['10.example', '10.example'],
  ['', undefined],
  ['.', undefined],
  ['..', undefined],
  ['.a', undefined],
  ['a..b', undefined],
  ['a..', undefined],
  [':80', undefined],
  ['h:', undefined],
  ['h:0', undefined],
  ['h:080', undefined],
  ['h:65536', undefined],
  ['h:99999', undefined],
  ['h:123456', undefined],
  ['h:80:80', undefined],
  ['h:-1', undefined],
  ['h:+80', undefined],
  ['h:8 0', undefined],
  ['h:80 ', undefined],
  ['h:http', undefined],
  ['h :80', undefined],
  [' h', undefined],
  ['h ', undefined],
  ['a b', undefined],
  ['a,b', undefined],
  ['a/b', undefined],
  ['a\\b', undefined],
  ['a?b', undefined],
  ['a#b', undefined],
  ['a@b', undefined],
  ['user:pass@h', undefined],
  ['@h', undefined],
  ['h%', undefined],
  ['h%41', undefined],
  ['%68', undefined],
  ['a%00b', undefined],
  ['a\x00b', undefined],
  ['a\tb', undefined],
  ['\xe9.example', undefined],
  ['b\xfccher.example', undefined],
  ['a~b', undefined],
  ['a*b', undefined],
  ['*', undefined],
  ['a!b', undefined],
  ["a'b", undefined],
  ['a;b', undefined],
  ['a=b', undefined],
  ['"a"', undefined],
  ['<a>', undefined],
  ['127.1', undefined],
  ['127.0.1', undefined],
  ['127.0.0.01', undefined],
  ['127.0.0.1.1', undefined],
  ['0177.0.0.1', undefined],
  ['256.0.0.1', undefined],
  ['0x7f.0.0.1', undefined],
  ['0x7f000001', undefined],
  ['2130706433', undefined],
  ['0', undefined],
  ['a.1', undefined],
  ['a.0x1', undefined],
  ['::1', undefined],
  ['fd00::1:80', undefined],
  ['[::1', undefined],
  ['::1]', undefined],
  ['[]', undefined],
  ['[::1]x', undefined],
  ['[::1]]', undefined],
  ['[[::1]]', undefined],
  ['[::1%eth0]', undefined],
  ['[::1%25eth0]', undefined],
  ['[10.0.0.1]', undefined],
  ['[h]', undefined],
  ['[v1.x]', undefined],
  ['[1::2::3]', undefined],
  ['[12345::]', undefined],
  ['[::1]:', undefined],
  ['[::1] :80', undefined],
  ['a'.repeat(255), 'a'.repeat(255)],
  ['a'.repeat(256), undefined],
]

const SPELLINGS = spellings()

describe('http/normalize', () => {
  describe('target', () => {
    for (const [raw, want] of TARGETS) {
      it(`${JSON.stringify(raw)} is ${want === undefined ? 'refused' : JSON.stringify(want)}`, () => {
        assert.equal(targetOf(raw), want)
      })
    }
  })

  describe('authority', () => {
    for (const [raw, want] of AUTHORITIES) {
      it(`${JSON.stringify(raw.slice(0, 40))} is ${want === undefined ? 'refused' : JSON.stringify(want.slice(0, 40))}`, () => {
        const got = normalizeAuthority(raw)
        assert.equal(got.ok ? got.value : undefined, want)
        if (got.ok) assert.deepEqual(normalizeAuthority(got.value), got, 'not its own normal form')
      })
    }
  })

  it('splits an absolute target', () => {
    assert.deepEqual(splitAbsolute('http://h/a?b'), { authority: 'h', rest: '/a?b' })
    assert.deepEqual(splitAbsolute('HTTP://h:1?b'), { authority: 'h:1', rest: '/?b' })
    assert.deepEqual(splitAbsolute('http://h'), { authority: 'h', rest: '/' })
    for (const raw of ['https://h/', 'ftp://h/', 'h:80', 'http:/h/', '*']) assert.equal(splitAbsolute(raw), undefined)
  })

  it('has more than 300 spellings', () => assert.ok(SPELLINGS.length > 300, `${SPELLINGS.length}`))

  describe('spelling', () => {
    for (const raw of SPELLINGS) it(JSON.stringify(raw), () => judge(raw))
  })

  it('forwards what it decided upon', async function () {
    this.timeout('60s')
    for (const raw of [...SPELLINGS, ...TARGETS.map(([target]) => target)]) {
      if (/[\r\n]/.test(raw) || raw.length === 0 || raw === '*' || raw.startsWith('http:')) continue
      const got = await proxyBytes(`GET ${raw} HTTP/1.1\r\nHost: h\r\n\r\n`)
      const want = isBytes(raw) ? targetOf(raw) : undefined
      assert.deepEqual(got.faults, [], raw)
      if (want === undefined) assert.deepEqual([got.statuses, got.seen], [[400], []], raw)
      else
        assert.deepEqual(
          got.seen.map(({ method, url, host }) => [method, url, host]),
          [['GET', want, 'h']],
          raw,
        )
    }
  })
})

function isBytes(raw: string): boolean {
  for (let i = 0; i < raw.length; i++) if (raw.charCodeAt(i) > 0xff) return false
  return true
}

function targetOf(raw: string): string | undefined {
  const got = normalizeTarget(raw)
  if (!got.ok) return undefined
  return got.value.query === undefined ? got.value.path : `${got.value.path}?${got.value.query}`
}

/** What is not refused means the same to every kind of server, before and after. */
function judge(raw: string): void {
  const got = normalizeTarget(raw)
  if (!got.ok) return
  const { path } = got.value
  assert.deepEqual(normalizeTarget(path), { ok: true, value: { path, query: undefined } }, 'not its own normal form')
  const meaning = decode(path)
  const hasParameters = path.includes(';') // what a parameter means is the server's
  for (const [name, read] of Object.entries(SERVERS)) {
    if (name === 'twice' && path.includes('%25')) continue // the rest of an escaped percent sign is data
    if (name === 'java' && hasParameters) continue
    assert.equal(read(path), name === 'twice' ? decode(meaning) : meaning, `${name} reads ${path} differently`)
  }
  const before = raw.split('?')[0] ?? ''
  assert.equal(SERVERS.nginx?.(before), meaning, 'normalising changed the meaning')
  const leads = Object.values(SERVERS).some((read) => [SECRET, `${SECRET}/`].includes(read(before) ?? ''))
  if (leads && !hasParameters && !path.includes('%25'))
    assert.ok(path === SECRET || path === `${SECRET}/`, `${path} escapes a rule on ${SECRET}`)
}

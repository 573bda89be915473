// Requests built to be read in two ways: tables of tricks, each put into every place where it may work.

import { NOT_CHUNKED, BAD_LENGTHS, BROKEN_NAMES, BAD_CHUNKS, LINE_ENDS, BAD_LINES, NAMED_BY_CONNECTION } from './smuggling-tables.ts'

/** One client's bytes and what has to come of them. */
export interface SmugglingVector {
  readonly name: string
  /** One character per byte. */
  readonly raw: string
  /** Status of the refusal, or `METHOD host target body` of each request that the server sees (`REFUSED` = answered with 400). */
  readonly want: number | readonly string[]
}

/** The request that an attacker wants to get past the proxy. */
const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n'
const CHUNKED_HIDDEN = `0\r\n\r\n${HIDDEN}`

/** Every vector. */
export const VECTORS: readonly SmugglingVector[] = [
  ...codings(),
  ...lengths(),
  ...names(),
  ...chunks(),
  ...lineEnds(),
  ...lines(),
  ...connections(),
  ...characters(),
  ...hosts(),
  ...whole(),
]

function codings(): SmugglingVector[] {
  const head = 'POST / HTTP/1.1\r\nHost: h\r\n'
  const list: SmugglingVector[] = []
  for (const value of [...NOT_CHUNKED, 'chunked', 'Chunked', 'CHUNKED', ' chunked ', '\tchunked\t']) {
    const line = `Transfer-Encoding: ${value}\r\n`
    const shown = JSON.stringify(value)
    list.push({ name: `coding ${shown} before a length`, raw: `${head}${line}Content-Length: 5\r\n\r\n${CHUNKED_HIDDEN}`, want: 400 })
    list.push({ name: `coding ${shown} after a length`, raw: `${head}Content-Length: 5\r\n${line}\r\n${CHUNKED_HIDDEN}`, want: 400 })
    list.push({
      name: `coding ${shown} twice`,
      raw: `${head}${line}X: y\r\ntransfer-encoding: chunked\r\n\r\n${CHUNKED_HIDDEN}`,
      want: 400,
    })
    const isRight = /^[ \t]*chunked[ \t]*$/i.test(value)
    const raw = `${head}${line}\r\n${CHUNKED_HIDDEN}`
    list.push({ name: `coding ${shown} alone`, raw, want: isRight ? ['POST h / ', 'GET h /hidden '] : 400 })
  }
  for (const line of ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'])
    list.push({ name: `${line} in HTTP/1.0`, raw: `POST / HTTP/1.0\r\nHost: h\r\n${line}\r\n\r\n${CHUNKED_HIDDEN}`, want: 400 })
  return list
}

function lengths(): SmugglingVector[] {
  const list: SmugglingVector[] = []
  for (const method of ['GET', 'POST']) {
    const head = `${method} / HTTP/1.1\r\nHost: h\r\n`
    for (const value of BAD_LENGTHS) {
      const name = `length ${JSON.stringify(value)} with ${method}`
      list.push({ name, raw: `${head}Content-Length: ${value}\r\n\r\nhello`, want: 400 })
    }
    for (const second of ['5', '0', '6', ' 5', '05', '', 'x'])
      list.push({
        name: `lengths 5 and ${JSON.stringify(second)} with ${method}`,
        raw: `${head}Content-Length: 5\r\nX: y\r\ncontent-length:${second}\r\n\r\nhello`,
        want: 400,
      })
    for (const value of ['5', '05', '\t5', '5 ', ' 5\t']) {
      const name = `length ${JSON.stringify(value)} with ${method}`
      list.push({ name, raw: `${head}Content-Length:${value}\r\n\r\nhello${HIDDEN}`, want: [`${method} h / hello`, 'GET h /hidden '] })
    }
  }
  return list
}

function names(): SmugglingVector[] {
  return BROKEN_NAMES.flatMap(([name, trick]) =>
    [
      ['Transfer-Encoding', 'chunked', CHUNKED_HIDDEN],
      ['Content-Length', '5', `hello${HIDDEN}`],
    ].flatMap(([field = '', value = '', body = '']) => [
      { name: `${field}, ${name}`, raw: `POST / HTTP/1.1\r\nHost: h\r\n${trick(field)}: ${value}\r\n\r\n${body}`, want: 400 },
      { name: `${field} first, ${name}`, raw: `POST / HTTP/1.1\r\n${trick(field)}: ${value}\r\nHost: h\r\n\r\n${body}`, want: 400 },
    ]),
  )
}

function chunks(): SmugglingVector[] {
  const head = ' / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n'
  return [
    ...['GET', 'POST'].flatMap((method) =>
      BAD_CHUNKS.map(([name, body]) => ({ name: `chunk with ${method}: ${name}`, raw: `${method}${head}${body}`, want: 400 })),
    ),
    { name: 'chunk: leading zeros', raw: `POST${head}005\r\nhello\r\n00\r\n\r\n${HIDDEN}`, want: ['POST h / hello', 'GET h /hidden '] },
    { name: 'chunk: extension', raw: `POST${head}5;a="b;c"\r\nhello\r\n0;x\r\n\r\n`, want: ['POST h / hello'] },
    { name: 'chunk: many', raw: `POST${head}1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n`, want: ['POST h / hello'] },
    {
      name: 'chunk: hex in both cases',
      raw: `POST${head}a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n`,
      want: ['POST h / 01234567890123456789'],
    },
    {
      name: 'chunk: trailers of framing',
      raw: `POST${head}0\r\nContent-Length: 7\r\nHost: x\r\nA: b\r\n\r\n${HIDDEN}`,
      want: ['POST h / ', 'GET h /hidden '],
    },
  ]
}

function lineEnds(): SmugglingVector[] {
  const lines = ['POST / HTTP/1.1', 'Host: h', 'Content-Length: 5', 'X: y', '']
  const list: SmugglingVector[] = []
  for (const end of LINE_ENDS)
    for (let place = 0; place < lines.length; place++) {
      if (place >= 3 && end.startsWith('\r\n')) continue // that is a body, or the row before
      const raw = `${lines.map((line, index) => line + (index === place ? end : '\r\n')).join('')}hello${HIDDEN}`
      list.push({ name: `line ${place} ends with ${JSON.stringify(end)}`, raw, want: 400 })
    }
  list.push({ name: 'all lines end with LF', raw: `${lines.join('\n')}\nhello`, want: 400 })
  list.push({ name: 'all lines end with CR', raw: `${lines.join('\r')}\rhello`, want: 400 })
  list.push({ name: 'two empty lines before', raw: `\r\n\r\n${HIDDEN}`, want: 400 })
  list.push({ name: 'LF before', raw: `\n${HIDDEN}`, want: 400 })
  list.push({ name: 'CR before', raw: `\r${HIDDEN}`, want: 400 })
  list.push({ name: 'one empty line before', raw: `\r\n${HIDDEN}`, want: ['GET h /hidden '] })
  return list
}

function lines(): SmugglingVector[] {
  return [
    ...BAD_LINES.map((line) => ({ name: `line ${JSON.stringify(line)}`, raw: `${line}\r\nHost: h\r\n\r\n`, want: 400 })),
    ...['HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/9.9'].map((version) => ({
      name: `version ${version}`,
      raw: `GET / ${version}\r\nHost: h\r\n\r\n`,
      want: 505,
    })),
    { name: 'CONNECT', raw: `CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n${HIDDEN}`, want: 405 },
    { name: 'HTTP/2 preface', raw: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', want: 505 },
    { name: 'absolute target', raw: 'GET HTTP://H/x?y HTTP/1.1\r\nHost: h\r\n\r\n', want: ['GET h /x?y '] },
    { name: 'absolute target without path', raw: 'GET http://h?y HTTP/1.1\r\nHost: h\r\n\r\n', want: ['GET h /?y '] },
  ]
}

function connections(): SmugglingVector[] {
  return [
    ...NAMED_BY_CONNECTION.map((value) => ({
      name: `Connection: ${JSON.stringify(value)}`,
      raw: `GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1\r\nConnection: ${value}\r\n\r\n`,
      want: 400,
    })),
    {
      name: 'h2c',
      raw: `GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n${HIDDEN}`,
      want: ['GET h / ', 'GET h /hidden '],
    },
    {
      name: 'upgrade with a body',
      raw: `POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello${HIDDEN}`,
      want: ['POST h / hello', 'GET h /hidden '],
    },
    {
      name: 'upgrade not named',
      raw: `GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n${HIDDEN}`,
      want: ['GET h / ', 'GET h /hidden '],
    },
    { name: 'request after close', raw: `GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n${HIDDEN}`, want: ['GET h / '] },
    { name: 'request after HTTP/1.0', raw: `GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n${HIDDEN}`, want: ['GET h / '] },
  ]
}

function characters(): SmugglingVector[] {
  const list: SmugglingVector[] = []
  for (let code = 0; code < 0x80; code++) {
    const shown = `0x${code.toString(16)}`
    const text = String.fromCharCode(code)
    if ((code < 0x20 && code !== 9) || code === 0x7f)
      list.push({ name: `value with ${shown}`, raw: `GET / HTTP/1.1\r\nHost: h\r\nX: a${text}b\r\n\r\n`, want: 400 })
    if (!/[!#$%&'*+\-.^_`|~0-9A-Za-z:]/.test(text))
      list.push({ name: `name with ${shown}`, raw: `GET / HTTP/1.1\r\nHost: h\r\nX${text}Y: a\r\n\r\n`, want: 400 })
  }
  return list
}

function hosts(): SmugglingVector[] {
  const bad = [
    'Host: h\r\nHost: h',
    'Host: h\r\nhost: other',
    'X: y',
    'Host:',
    'Host: h, other',
    'Host: h other',
    'Host: h\x00',
    'Host : h',
    ' Host: h',
    'Host: h\r\n other',
    'Host: h@other',
    'Host: h/x',
  ]
  return bad.map((lines) => ({ name: `host ${JSON.stringify(lines)}`, raw: `GET / HTTP/1.1\r\n${lines}\r\n\r\n`, want: 400 }))
}

function whole(): SmugglingVector[] {
  const good = 'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi'
  return [
    { name: 'good and bad', raw: `${good}GET /b HTTP/1.1\nHost: h\n\n`, want: ['POST h /a hi', 'REFUSED'] },
    { name: 'good, bad and good', raw: `${good}BAD\r\n\r\n${HIDDEN}`, want: ['POST h /a hi', 'REFUSED'] },
    { name: 'three pipelined', raw: `${good}${good}${HIDDEN}`, want: ['POST h /a hi', 'POST h /a hi', 'GET h /hidden '] },
    { name: 'empty line after a body', raw: `${good}\r\n${HIDDEN}`, want: ['POST h /a hi', 'GET h /hidden '] },
    {
      name: 'body shorter than its length',
      raw: `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi there`,
      want: ['POST h / hi', 'REFUSED'],
    },
    { name: 'head cut off', raw: 'GET / HTTP/1.1\r\nHost: h\r\n', want: 400 },
    { name: 'head too long', raw: `GET / HTTP/1.1\r\nHost: h\r\nX: ${'a'.repeat(61_440)}\r\n\r\n`, want: 431 },
    { name: 'too many fields', raw: `GET / HTTP/1.1\r\nHost: h\r\n${'X: y\r\n'.repeat(100)}\r\n`, want: 431 },
    { name: 'TLS', raw: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', want: 400 },
    { name: 'expect something', raw: 'GET / HTTP/1.1\r\nHost: h\r\nExpect: more\r\n\r\n', want: 400 },
    { name: 'obs-text', raw: 'GET / HTTP/1.1\r\nHost: h\r\nX: \xe9\r\n\r\n', want: ['GET h / '] },
    {
      name: 'many dropped fields',
      raw: 'GET / HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nConnection: x-mine\r\nX-Mine: 1\r\n\r\n',
      want: ['GET h / '],
    },
  ]
}

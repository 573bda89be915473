// Spellings of paths that servers read differently, and models of how three kinds of servers read a path.

/** What a proxy must not be fooled about. */
export const SECRET = '/admin/keys'

/** @returns different spellings, built from every trick at every place of SECRET and of paths that may lead to it */
export function spellings(): readonly string[] {
  const list = new Set<string>()
  for (const base of [
    '/admin/keys',
    '/public/../admin/keys',
    '/public/x/../../admin/keys',
    '/./admin/./keys',
    '/admin/x/../keys',
    '/..admin/keys',
  ])
    for (const trick of TRICKS) for (const spelled of trick(base)) list.add(spelled)
  for (const up of UPS) {
    list.add(`/public/${up}/admin/keys`)
    list.add(`/public/${up}admin/keys`)
    list.add(`/public${up}/admin/keys`)
    list.add(`/${up}/admin/keys`)
    list.add(`/admin/${up}/admin/keys`)
    list.add(`/admin/keys/${up}`)
    list.add(`/admin/keys/x/${up}`)
    list.add(`/admin${up}/keys`)
    list.add(`/${up}admin/keys`)
    list.add(`/admin/keys${up}`)
  }
  return [...list]
}

const UPS = [
  '.',
  '..',
  '...',
  '.;',
  '..;',
  '..;x',
  '.;x=y',
  ';',
  ';x',
  ';/..',
  '%2e',
  '%2E',
  '.%2e',
  '%2e.',
  '%2e%2E',
  '%2e%2e;',
  '%2e%2e%3b',
  '%2e%2e%2f',
  '..%2f',
  '..%2F..',
  '..%5c',
  '..\\',
  '\\..',
  '%5c..',
  '..%00',
  '%00',
  '..%0a',
  '%09',
  '..%20',
  '.. ',
  '%252e%252e',
  '%252e',
  '..%252f',
  '%25%32%65',
  '%25252e%25252e',
  '%%32%65',
  '%%32e',
  '%u002e%u002e',
  '%c0%ae%c0%ae',
  '%c0%af',
  '%e0%80%ae',
  '%f0%80%80%ae',
  '%f8%80%80%80%ae',
  '%fc%80%80%80%80%ae',
  '%c1%9c',
  '\xc0\xae',
  '\xef\xbc\x8e',
  '%ef%bc%8f',
  '//',
  '///',
  '//..',
  '//../',
  '/./',
  '/.//..',
  '#',
  '%23',
  '?',
  '%3f',
  '%3F..',
  '%',
  '%2',
  '%zz',
  '% 2',
  '\t',
  '\x7f',
  '%7f',
  '%7e',
  '~',
  '*',
  ':',
  '@',
  "'",
  '%27',
  '"',
  '<',
  '`',
  '{',
  '^',
  '|',
  '%7c',
  '[',
  '+',
  '%2b',
  '$',
  '&',
  '=',
  '%20',
  '%41',
  '%c3%a9',
  '%C3%A9',
  '%ff',
]

/** Each puts one trick into every place of a path where it fits. */
const TRICKS: readonly ((path: string) => string[])[] = [
  (path) => [path, path.toUpperCase(), `${path}/`, `${path}?x`, `${path}?/../..`, `${path}#x`],
  (path) => each(path, /[a-z]/g, (text) => `%${hex(text)}`),
  (path) => each(path, /[a-z]/g, (text) => `%${hex(text).toUpperCase()}`),
  (path) => each(path, /[a-z.]/g, (text) => `%25${hex(text)}`),
  (path) => each(path, /\./g, () => '%2e'),
  (path) => each(path, /\//g, () => '//'),
  (path) => each(path, /\//g, () => '/./'),
  (path) => each(path, /\//g, () => '/%2e/'),
  (path) => each(path, /\//g, () => '%2f'),
  (path) => each(path, /\//g, () => '%2F'),
  (path) => each(path, /\//g, () => '\\'),
  (path) => each(path, /\//g, () => '/\\'),
  (path) => each(path, /\//g, () => '%5c'),
  (path) => each(path, /\//g, () => '%252f'),
  (path) => each(path, /\//g, () => '/;/'),
  (path) => each(path, /\//g, () => '/.;/'),
  (path) => each(path, /\//g, () => '/x/..;/'),
  (path) => each(path, /\//g, () => '/x/../'),
  (path) => each(path, /\//g, () => '/x/%2e%2e/'),
  (path) => each(path, /\//g, () => '/x//../'),
  (path) => each(path, /\//g, () => '%c0%af'),
  (path) => each(path, /\//g, () => '\xc0\xaf'),
  (path) => each(path, /\.\./g, () => '..;'),
  (path) => each(path, /\.\./g, () => '%2e%2e'),
  (path) => each(path, /\.\./g, () => '..%00'),
  (path) => [path.replaceAll(/[a-z]/g, (text) => `%${hex(text)}`), path.replaceAll('/', '//')],
]

function each(path: string, what: RegExp, trick: (text: string) => string): string[] {
  return [...path.matchAll(what)].map((match) => path.slice(0, match.index) + trick(match[0]) + path.slice(match.index + match[0].length))
}

function hex(text: string): string {
  return text.charCodeAt(0).toString(16)
}

/** Models of servers: the file or route that a path leads to, decoded. Undefined = the server refuses it. */
export const SERVERS: Readonly<Record<string, (path: string) => string | undefined>> = {
  /** Uses the path as it is, decoded once. */
  plain: (path) => decode(path),
  /** Decodes, then merges slashes, then resolves dots. */
  nginx: (path) => walk(decode(path)?.replaceAll(/\/+/g, '/')),
  /** Resolves dots as RFC 3986, empty segments are segments; then decodes. */
  rfc: (path) => decode(walk(path)),
  /** WHATWG: backslash is a slash, `%2e` is a dot; then decodes. */
  browser: (path) => decode(new URL(`http://h${path}`).pathname),
  /** Cuts parameters off, decodes, backslash is a slash, merges, resolves. */
  java: (path) =>
    walk(
      decode(path.replaceAll(/;[^/]*/g, ''))
        ?.replaceAll('\\', '/')
        .replaceAll(/\/+/g, '/'),
    ),
  /** Decodes twice, then as nginx. */
  twice: (path) => walk(decode(decode(path))?.replaceAll('\\', '/').replaceAll(/\/+/g, '/')),
}

/** Percent-decodes once; undefined = malformed. Characters stay bytes. */
export function decode(path: string | undefined): string | undefined {
  if (path === undefined || /%(?![0-9a-f]{2})/i.test(path)) return undefined
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

/** RFC 3986 §5.2.4, undefined = above the root. */
function walk(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  const out: string[] = []
  const segments = path.slice(1).split('/')
  for (const [index, segment] of segments.entries()) {
    if (segment === '..') {
      if (out.pop() === undefined) return undefined
    } else if (segment !== '.') {
      out.push(segment)
      continue
    }
    if (index === segments.length - 1) out.push('')
  }
  return `/${out.join('/')}`
}

// Values of a raw query, for matches and hashes: names and values are percent-decoded once, `+` is a space, the first of
// several counts. Pairs are parted by `&` alone. Allocates only for a value that is found or a name that is encoded.

const AMPERSAND = 0x26
const PLUS = 0x2b
const EQUALS = 0x3d
const PERCENT = 0x25

/**
 * @param query what follows `?`, raw
 * @returns the first value of `name`, decoded, empty when it has no `=`; undefined when the name is not there
 */
export function queryValue(query: string, name: string): string | undefined {
  for (let start = 0; start <= query.length; ) {
    let end = start
    let equals = -1
    let isEncoded = false
    for (; end < query.length; end++) {
      const code = query.charCodeAt(end)
      if (code === AMPERSAND) break
      if (equals >= 0) continue
      if (code === EQUALS) equals = end
      else if (code === PERCENT || code === PLUS) isEncoded = true
    }
    const nameEnd = equals < 0 ? end : equals
    if (end > start && isName(query, start, nameEnd, isEncoded, name)) return equals < 0 ? '' : decode(query.slice(equals + 1, end))
    start = end + 1
  }
  return undefined
}

function isName(query: string, start: number, end: number, isEncoded: boolean, name: string): boolean {
  if (isEncoded) return decode(query.slice(start, end)) === name
  return end - start === name.length && query.startsWith(name, start)
}

/** What is not valid UTF-8 in percent-encoding stays as it was written. */
function decode(raw: string): string {
  const text = raw.includes('+') ? raw.replaceAll('+', ' ') : raw
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

// resourceVersion of Kubernetes: opaque everywhere else, a decimal number here (documented as comparable since 1.35).

/**
 * Whether `a` is older than `b`.
 * @returns undefined when one of them is no number: then nothing is known
 */
export function isOlder(a: string | undefined, b: string | undefined): boolean | undefined {
  if (!isNumber(a) || !isNumber(b)) return undefined
  return a.length === b.length ? a < b : a.length < b.length
}

function isNumber(version: string | undefined): version is string {
  return version !== undefined && /^[1-9]\d{0,38}$/.test(version)
}

// Random numbers for choices of which there are several per request: backends, endpoints, shares of mirrors and faults.

/** Drawn at once: a call for each number costs 5 µs, a tenth of a request. */
const words = new Uint32Array(1024)
let next = words.length

/** Unpredictable to clients. @returns 0 ≤ x < 1 */
export function random(): number {
  if (next === words.length) {
    crypto.getRandomValues(words)
    next = 0
  }
  return (words[next++] ?? 0) / 2 ** 32
}

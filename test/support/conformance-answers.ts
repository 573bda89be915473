// What Istio's echo client prints and what the suite expects of it: gateway-api conformance/utils/echo/{parse,pod}.go and
// conformance/utils/weight, in TypeScript.

/** One request and what must come of it; what is left out is not looked at. */
export interface MeshCase {
  /** Default: made of the request. */
  readonly name?: string
  /** What is dialled; default `echo`. */
  readonly host?: string
  readonly path?: string
  /** Default GET. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Any of these; default 200. */
  readonly status?: number | readonly number[]
  /** The pod that answers has a name that begins so. */
  readonly backend?: string
  /** Headers that the backend saw: values of one name are joined by commas. */
  readonly seen?: Readonly<Record<string, string>>
  /** Names of headers that the backend must not have seen. */
  readonly unseen?: readonly string[]
  /** Host that the backend saw. */
  readonly seenHost?: string
  /** Headers of the response: one of the values, blanks left out. */
  readonly answered?: Readonly<Record<string, string | readonly string[]>>
  /** Names of headers that the response must not have. */
  readonly unanswered?: readonly string[]
  /** Path and query that the backend saw. The suite states it and does not compare it in a mesh; here it is compared. */
  readonly url?: string
  /** The response's Location. The suite states its parts and does not compare them in a mesh; here they are compared. */
  readonly location?: string
  /** Share of the requests that comes to other backends, too. */
  readonly mirrored?: Readonly<Record<string, number>>
  /** Default `http`. */
  readonly protocol?: 'http' | 'grpc'
}

/** One answer as the client printed it. */
export interface EchoAnswer {
  readonly status: number
  readonly hostname: string
  readonly host: string
  readonly url: string
  readonly requestHeaders: ReadonlyMap<string, readonly string[]>
  readonly responseHeaders: ReadonlyMap<string, readonly string[]>
  readonly text: string
}

/** Title of a case. */
export function titleOf({ name, method = '', host = 'echo', path = '', headers = {}, backend, status = 200 }: MeshCase): string {
  if (name !== undefined) return name
  const marks = Object.entries(headers).map((pair) => `, ${pair.join(': ')}`)
  return `${method} ${host}${path}${marks.join('')} -> ${backend ?? status}`.trim()
}

/** The client's arguments. @param count requests to send; undefined = one */
export function clientArgs(one: MeshCase, count?: number): string[] {
  const { host = 'echo', path = '', protocol = 'http', method = 'GET', headers = {} } = one
  return [
    `${protocol}://${host}${path}`,
    ...(protocol === 'grpc' ? [] : [`--method=${method}`]),
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `"${name}:${value}"`]),
    ...(count === undefined ? [] : [`--count=${count}`]),
  ]
}

/** Answers in what the client printed: a blank line stands between two. */
export function parseAnswers(output: string): EchoAnswer[] {
  const answers = output.split('\n\n').map((text) => parseAnswer(text.trim()))
  return answers.filter(({ status, hostname }) => !Number.isNaN(status) || hostname !== '')
}

function parseAnswer(text: string): EchoAnswer {
  const first = (field: string): string => new RegExp(`${field}=(.*)`).exec(text)?.[1] ?? ''
  return {
    status: Number.parseInt(first('StatusCode'), 10),
    hostname: first('Hostname'),
    host: first('Host'),
    url: first('URL'),
    requestHeaders: headersIn(text, 'RequestHeader'),
    responseHeaders: headersIn(text, 'ResponseHeader'),
    text,
  }
}

function headersIn(text: string, field: string): Map<string, string[]> {
  const headers = new Map<string, string[]>()
  for (const [, name = '', value = ''] of text.matchAll(new RegExp(`${field}=([^:\\n]*):(.*)`, 'g'))) {
    const key = name.toLowerCase()
    headers.set(key, [...(headers.get(key) ?? []), value])
  }
  return headers
}

/** @returns what is wrong with an answer, undefined when nothing is */
export function faultOf(want: MeshCase, answer: EchoAnswer): string | undefined {
  const { status = 200, backend = '', url, location, seenHost, seen = {}, unseen = [], answered = {}, unanswered = [] } = want
  const inRequest = (name: string): string | undefined => answer.requestHeaders.get(name.toLowerCase())?.join(',')
  const inResponse = (name: string): string | undefined => answer.responseHeaders.get(name.toLowerCase())?.join(',')
  const faults = [
    [status].flat().includes(answer.status) ? undefined : `status ${answer.status}, not ${status}`,
    answer.hostname.startsWith(backend) ? undefined : `answered by ${answer.hostname}, not ${backend}`,
    seenHost === undefined || answer.host === seenHost ? undefined : `the backend saw the host ${answer.host}, not ${seenHost}`,
    url === undefined || answer.url === url ? undefined : `the backend saw ${answer.url}, not ${url}`,
    location === undefined || inResponse('location') === location ? undefined : `Location ${inResponse('location')}, not ${location}`,
    ...Object.entries(seen).map(([name, value]) => differs(`the backend saw ${name}`, inRequest(name), value)),
    ...unseen.map((name) => differs(`the backend saw ${name}`, inRequest(name), undefined)),
    ...Object.entries(answered).map(([name, value]) => differs(`the response has ${name}`, inResponse(name)?.replaceAll(' ', ''), value)),
    ...unanswered.map((name) => differs(`the response has ${name}`, inResponse(name), undefined)),
  ]
  const [fault] = faults.filter((one) => one !== undefined)
  return fault === undefined ? undefined : `${fault}\n${answer.text}`
}

function differs(what: string, is: string | undefined, want: string | readonly string[] | undefined): string | undefined {
  const isWell = typeof want === 'object' ? want.some((one) => one === is) : is === want
  return isWell ? undefined : `${what}: ${is ?? 'not at all'}, not ${want ?? 'at all'}`
}

/** The suite takes a share that is this near. */
export const SHARE_TOLERANCE = 0.05

/** @returns what is wrong with the shares of the backends, undefined when nothing is @param want share by backend, their sum is 1 */
export function shareFault(hostnames: readonly string[], want: Readonly<Record<string, number>>): string | undefined {
  const counts: Record<string, number> = {}
  for (const hostname of hostnames) {
    const backend = hostname.split('-').slice(0, -2).join('-') // NAME-HASH-HASH is what a Deployment calls its pods
    counts[backend] = (counts[backend] ?? 0) + 1
  }
  const isWell =
    Object.keys(counts).every((backend) => Object.hasOwn(want, backend)) &&
    Object.entries(want).every(([backend, share]) => Math.abs((counts[backend] ?? 0) / hostnames.length - share) <= SHARE_TOLERANCE)
  return isWell ? undefined : `shares of ${hostnames.length}: ${JSON.stringify(counts)}`
}

// The demo's claims about HTTP: a waypoint takes the shop's requests, and routes do what their files say. What became of the
// requests is counted by who sent them (samples/shop/load.mjs).
import { type Claim, claim, SCENE_LIMIT_MS } from './claim.ts'
import { type LoadCounts, SHOP, type ShopStage } from './shop-stage.ts'

const CLIENT = `${SHOP}/batch`
const VERSION_URL = 'http://payments/version'
/** From a route's status to its effect; measured are some tens of ms. */
const EFFECT_MS = 500
const CANARY_REQUESTS = 3000
const CANARY_SHARE = 0.1
const CANARY_TOLERANCE = 0.02
const FLAKY_REQUESTS = 150
const LATE_LIMIT_MS = 2000
const LIMITED_REQUESTS = 200
const MIRRORED_REQUESTS = 200

/** The scenes in their order; each route is there for one scene only. */
export const ROUTED_SCENES: readonly ((stage: ShopStage) => Promise<readonly Claim[]>)[] = [
  waypoint,
  canary,
  tester,
  retried,
  cut,
  limited,
  mirrored,
]

/** The whole shop behind a waypoint, while orders are placed. */
async function waypoint(stage: ShopStage): Promise<Claim[]> {
  const before = await stage.orders()
  const isThere = await putBehindWaypoint(stage)
  const wanted = `spiffe://cluster.local/ns/${SHOP}/sa/cart`
  const find = async (): Promise<Readonly<Record<string, unknown>> | undefined> =>
    (await stage.accessLines()).find((line) => line['src.identity'] === wanted && String(line.path).startsWith('/payments/'))
  await stage.until(async () => (await find()) !== undefined, SCENE_LIMIT_MS)
  const line = await find()
  const after = await stage.orders()
  return [
    claim(
      'a waypoint takes the requests of the shop and knows who sent them',
      isThere && line?.response_code === 200,
      line === undefined ? 'no such line in its access log' : `${line['src.identity']}: ${line.method} ${line.path}, ${line.response_code}`,
    ),
    claim(
      'no order was lost when it took over',
      after.done > before.done && after.failed === before.failed,
      `${after.done - before.done} orders, ${after.failed - before.failed} failed`,
    ),
  ]
}

/** Sends the shop's requests through a waypoint from now on. @returns whether the waypoint was there in time */
export async function putBehindWaypoint(stage: ShopStage): Promise<boolean> {
  await stage.objects('routes/waypoint.yaml', 'apply')
  const isThere = await stage.until(() => stage.says('gateways', 'waypoint', 'Programmed'), SCENE_LIMIT_MS)
  await stage.setLabels({ 'istio.io/use-waypoint': 'waypoint' })
  return isThere
}

/** 90 : 10. */
async function canary(stage: ShopStage): Promise<Claim[]> {
  const seen = await withRoute(stage, 'canary', () => stage.load(CLIENT, VERSION_URL, ['-n', String(CANARY_REQUESTS)]))
  const share = (seen.version.v2 ?? 0) / CANARY_REQUESTS
  const isWhole = seen.status[200] === CANARY_REQUESTS
  return [
    claim(
      'one request in ten goes to the new version, and none is lost',
      isWhole && Math.abs(share - CANARY_SHARE) <= CANARY_TOLERANCE,
      `${text(seen)}; v2 has ${(share * 100).toFixed(1)} %`,
    ),
  ]
}

async function tester(stage: ShopStage): Promise<Claim[]> {
  const [marked, others] = await withRoute(stage, 'tester', () =>
    Promise.all([stage.load(CLIENT, VERSION_URL, ['-n', '100', '-H', 'x-tester: yes']), stage.load(CLIENT, VERSION_URL, ['-n', '100'])]),
  )
  return [
    claim(
      'a header sends testers to the new version, and nobody else',
      marked.version.v2 === 100 && others.version.v1 === 100,
      `testers: ${text(marked)}; others: ${text(others)}`,
    ),
  ]
}

async function retried(stage: ShopStage): Promise<Claim[]> {
  const ask = (): Promise<LoadCounts> => stage.load(CLIENT, VERSION_URL, ['-n', String(FLAKY_REQUESTS), '-c', '1', '-H', 'x-fail-every: 3'])
  const bare = await ask()
  const seen = await withRoute(stage, 'retry', ask)
  return [
    claim(
      'retries hide a payments that fails every third time',
      (bare.status[503] ?? 0) > 0 && seen.status[200] === FLAKY_REQUESTS,
      `without: ${text(bare)}; with: ${text(seen)}`,
    ),
  ]
}

async function cut(stage: ShopStage): Promise<Claim[]> {
  const [late, others] = await withRoute(stage, 'delay', async () => [
    await stage.load(CLIENT, VERSION_URL, ['-n', '20', '-H', 'x-late: yes']),
    await stage.load(CLIENT, VERSION_URL, ['-n', '20']),
  ])
  return [
    claim(
      'an injected delay of 3 s is cut by a timeout of 0.5 s',
      late?.status[504] === 20 && late.ms.p99 < LATE_LIMIT_MS && others?.status[200] === 20,
      `delayed: ${text(late)} in ${late?.ms.p50} ms; others: ${text(others)} in ${others?.ms.p50} ms`,
    ),
  ]
}

async function limited(stage: ShopStage): Promise<Claim[]> {
  const before = await stage.orders()
  const seen = await withRoute(stage, 'limit', () => stage.load(CLIENT, VERSION_URL, ['-n', String(LIMITED_REQUESTS)]))
  const { 200: taken = 0, 429: refused = 0 } = seen.status
  const orders = await stage.orders()
  return [
    claim(
      'a limit of 20 requests per second and identity holds',
      taken >= 20 && refused > 0 && taken + refused === LIMITED_REQUESTS && seen.retryAfter !== undefined,
      `${text(seen)}, Retry-After: ${seen.retryAfter}; orders of others failed: ${orders.failed - before.failed}`,
    ),
  ]
}

async function mirrored(stage: ShopStage): Promise<Claim[]> {
  const askedOf = async (): Promise<number> => {
    const { output } = await stage.exec(`${SHOP}/payments-v2`, [
      'node',
      '-e',
      "fetch('http://127.0.0.1:8080/asked').then((r) => r.text()).then(console.log)",
    ])
    return (JSON.parse(output) as { asked: number }).asked
  }
  const before = await askedOf()
  const seen = await withRoute(stage, 'mirror', () => stage.load(CLIENT, VERSION_URL, ['-n', String(MIRRORED_REQUESTS)]))
  let copies = 0
  await stage.until(async () => {
    copies = (await askedOf()) - before
    return copies >= MIRRORED_REQUESTS
  }, SCENE_LIMIT_MS)
  return [
    claim(
      'the new version gets a copy of every request, the old one answers',
      seen.version.v1 === MIRRORED_REQUESTS && copies === MIRRORED_REQUESTS,
      `${text(seen)}; v2 was asked ${copies} times`,
    ),
  ]
}

/** Plays with a file of routes/ in force. */
export async function withRoute<T>(stage: ShopStage, name: string, play: () => Promise<T>): Promise<T> {
  const file = `routes/${name}.yaml`
  await stage.objects(file, 'apply')
  await stage.pause(EFFECT_MS)
  try {
    return await play()
  } finally {
    await stage.objects(file, 'delete')
    await stage.pause(EFFECT_MS)
  }
}

/** `200: 2999, 503: 1 (v1: 2700, v2: 299)` */
function text(counts: LoadCounts | undefined): string {
  const list = (of: Readonly<Record<string, number>>): string =>
    Object.entries(of)
      .map(([key, count]) => `${key}: ${count}`)
      .join(', ')
  if (counts === undefined) return '-'
  const answers = list({ ...counts.status, ...counts.error })
  return counts.status[200] === undefined ? answers : `${answers} (${list(counts.version)})`
}

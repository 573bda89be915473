// The demo's claims: each is tried on the running shop and comes back with its evidence. `npm run demo -- --check` prints them as
// a table and ends with 0 or 1.
import { parseWorkloadId } from '../../certs/spiffe.ts'
import { describeFlow } from '../../tap/tap.ts'
import { type Claim, claim, SCENE_LIMIT_MS } from './claim.ts'
import { ROUTED_SCENES } from './routed.ts'
import { PLAINTEXT_MARKER, SHOP, type ShopStage } from './shop-stage.ts'

const ENOUGH_ORDERS = 5
const PAYMENTS_URL = 'http://payments/healthz'

/** All scenes in their order; later ones count on what earlier ones left. */
export const SCENES: readonly ((stage: ShopStage) => Promise<readonly Claim[]>)[] = [meshed, authorized, strict, toggled, ...ROUTED_SCENES]

/** The shop as its YAML says: in the mesh. */
async function meshed(stage: ShopStage): Promise<Claim[]> {
  const before = await stage.orders()
  const isBusy = await stage.until(async () => (await stage.orders()).done >= before.done + ENOUGH_ORDERS, SCENE_LIMIT_MS)
  const flows = await stage.tap.tcpBetween(await stage.podIps())
  const faults = await stage.tap.meshFaults(await stage.podIps())
  const seen = await stage.tap.seen(PLAINTEXT_MARKER)
  const wanted = `spiffe://cluster.local/ns/${SHOP}/sa/cart`
  const find = () => stage.traffic.read().find((one) => one.sourceIdentity === wanted && one.destinationIdentity.endsWith('/sa/payments'))
  await stage.until(() => find() !== undefined, SCENE_LIMIT_MS)
  const identified = find()
  const isWellFormed = identified !== undefined && parseWorkloadId(identified.destinationIdentity).ok
  return [
    claim('the shop works: orders are placed and paid', isBusy, `${(await stage.orders()).done} orders`),
    claim(
      'between nodes its TCP is TLS to port 15008 and nothing else',
      flows.length > 0 && faults.length === 0,
      faults[0] === undefined ? `${flows.length} connections seen on the bridge` : `${faults[0].reason}: ${describeFlow(faults[0].flow)}`,
    ),
    claim('nothing readable crosses the wire', seen === 0, `${PLAINTEXT_MARKER} seen ${seen} times`),
    claim(
      'the receiving ztunnel names both identities',
      isWellFormed,
      identified === undefined ? 'no such line in the access logs' : `${identified.sourceIdentity} → ${identified.destinationIdentity}`,
    ),
  ]
}

/** Only the cart may take money. */
async function authorized(stage: ShopStage): Promise<Claim[]> {
  const allowed = await stage.get(`${SHOP}/batch`, PAYMENTS_URL)
  await stage.objects('policies/payments-from-cart.yaml', 'apply')
  stage.traffic.clear()
  let answer = ''
  const isRefused = await stage.until(async () => {
    answer = await stage.get(`${SHOP}/batch`, PAYMENTS_URL)
    return answer !== '200'
  }, SCENE_LIMIT_MS)
  const find = () => stage.traffic.read().find((one) => one.refused > 0 && one.sourceIdentity.endsWith('/sa/batch'))
  await stage.until(() => find() !== undefined, SCENE_LIMIT_MS)
  const before = await stage.orders()
  const goesOn = await stage.until(async () => (await stage.orders()).done >= before.done + 2, SCENE_LIMIT_MS)
  const isUnharmed = (await stage.orders()).failed === before.failed
  await stage.objects('policies/payments-from-cart.yaml', 'delete')
  return [
    claim(
      'an AuthorizationPolicy keeps the batch client from payments',
      allowed === '200' && isRefused,
      `before: ${allowed}, after: ${answer}`,
    ),
    claim('the refusal is logged with its reason', find() !== undefined, find()?.reason ?? 'no such line in the access logs'),
    claim('what the policy allows goes on', goesOn && isUnharmed, `${(await stage.orders()).done - before.done} orders meanwhile`),
  ]
}

/** STRICT refuses who is not in the mesh. */
async function strict(stage: ShopStage): Promise<Claim[]> {
  const outside = 'outside/visitor'
  await stage.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'outside' } })
  await stage.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'visitor', namespace: 'outside' },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'visitor', image: 'weft/shop:dev', command: ['sleep', '3600'] }] },
  })
  const url = `http://front.${SHOP}/healthz`
  let before = ''
  await stage.until(async () => {
    before = await stage.get(outside, url)
    return before === '200'
  }, SCENE_LIMIT_MS)
  await stage.objects('policies/strict.yaml', 'apply')
  let after = ''
  const isRefused = await stage.until(async () => {
    after = await stage.get(outside, url)
    return after !== '200'
  }, SCENE_LIMIT_MS)
  await stage.objects('policies/strict.yaml', 'delete')
  await stage.remove('namespaces', undefined, 'outside')
  return [claim('STRICT refuses a client that is not in the mesh', before === '200' && isRefused, `before: ${before}, after: ${after}`)]
}

/** The label off and on again while orders are placed. */
async function toggled(stage: ShopStage): Promise<Claim[]> {
  const before = await stage.orders()
  const isOff = await stage.label(false)
  await stage.tap.clear()
  const isReadable = await stage.until(async () => (await stage.tap.seen(PLAINTEXT_MARKER)) > 0, SCENE_LIMIT_MS)
  const readable = await stage.tap.seen(PLAINTEXT_MARKER)
  const isOn = await stage.label(true)
  const orders = await stage.orders()
  await stage.until(async () => (await stage.orders()).done >= orders.done + 1, SCENE_LIMIT_MS)
  await stage.tap.clear()
  await stage.until(async () => (await stage.orders()).done >= orders.done + ENOUGH_ORDERS, SCENE_LIMIT_MS)
  const seen = await stage.tap.seen(PLAINTEXT_MARKER)
  const after = await stage.orders()
  const restarted = await restarts(stage)
  return [
    claim('without the label the same traffic can be read', isOff && isReadable, `${PLAINTEXT_MARKER} seen ${readable} times`),
    claim(
      'with the label it cannot, and no pod was restarted',
      isOn && seen === 0 && restarted === 0,
      `seen ${seen} times, ${restarted} restarts`,
    ),
    claim(
      'no order was lost on the way',
      after.failed === before.failed,
      `${after.done - before.done} orders, ${after.failed - before.failed} failed`,
    ),
  ]
}

async function restarts(stage: ShopStage): Promise<number> {
  return (await stage.pods()).reduce(
    (sum, pod) => sum + (pod.status?.containerStatuses ?? []).reduce((all, one) => all + (one.restartCount ?? 0), 0),
    0,
  )
}

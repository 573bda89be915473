// Who may reach a port behind a waypoint: a table of pods, ports and peers.
import assert from 'node:assert/strict'
import type { SpiffeId } from '../../../../model/identity.ts'
import type { Service } from '../../../../model/service.ts'
import type { GatewayAddress, Workload } from '../../../../model/workload.ts'
import { judgeWay, type Way, type WaypointView } from '../../../../ztunnel/proxy/guard.ts'
import { serviceOf, workloadOf } from '../../../support/mesh-values.ts'

const toward = (name: string): GatewayAddress => ({ kind: 'hostname', namespace: 'shop', hostname: `${name}.shop.svc`, hbonePort: 15008 })
const idOf = (name: string): SpiffeId => `spiffe://cluster.local/ns/shop/sa/${name}` as SpiffeId
const [W1, W2, CLIENT] = [idOf('w1'), idOf('w2'), idOf('client')]

const service = (name: string, change: Partial<Service> = {}): Service =>
  serviceOf(name, [`10.96.0.${name.length}`], { ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'UNKNOWN' }], ...change })
const SERVICES = [
  service('guarded', { waypoint: toward('w1') }),
  service('guarded-too', { waypoint: toward('w2') }),
  service('open'),
  service('headless', { vips: [], waypoint: toward('w1') }),
  service('lost', { waypoint: toward('nobody') }),
]
const behind = (services: readonly string[], change: Partial<Workload> = {}, targetPort = 8080): Workload =>
  workloadOf('pod', ['10.244.1.1'], {
    services: new Map(
      services.map((name) => [`shop/${SERVICES.find((one) => one.name === name)?.hostname ?? name}`, [{ servicePort: 80, targetPort }]]),
    ),
    ...change,
  })
const hostOf = (name: string): string => SERVICES.find((one) => one.name === name)?.hostname ?? ''

function viewOf(before: Readonly<Record<string, GatewayAddress | 'none'>> = {}): WaypointView {
  return {
    serviceByHost: (_namespace, hostname) => SERVICES.find((one) => one.hostname === hostname),
    identitiesOf: (waypoint) => {
      const name = waypoint.kind === 'hostname' ? (waypoint.hostname.split('.')[0] ?? '') : ''
      return name === 'nobody' ? [] : [idOf(name)]
    },
    waypointBefore(name) {
      const found = Object.entries(before).find(([key]) => name.includes(key))?.[1]
      return found === undefined ? undefined : { waypoint: found === 'none' ? undefined : found }
    },
  }
}

interface Row {
  readonly name: string
  readonly pod: Workload
  readonly port?: number
  readonly peer?: SpiffeId | undefined
  readonly host?: string
  readonly before?: Readonly<Record<string, GatewayAddress | 'none'>>
  readonly want: Way
}

const ROWS: readonly Row[] = [
  { name: 'no service, no waypoint', pod: behind([]), peer: CLIENT, want: 'open' },
  { name: 'an open service', pod: behind(['open']), peer: CLIENT, want: 'open' },
  { name: 'plaintext to an open service', pod: behind(['open']), want: 'open' },
  { name: 'a guarded service, from its waypoint', pod: behind(['guarded']), peer: W1, want: 'waypoint' },
  { name: 'a guarded service, from a client', pod: behind(['guarded']), peer: CLIENT, want: 'round' },
  { name: 'a guarded service, from another waypoint', pod: behind(['guarded']), peer: W2, want: 'round' },
  { name: 'a guarded service, in plaintext', pod: behind(['guarded']), want: 'round' },
  {
    name: 'a guarded service, said to be dialled by its name',
    pod: behind(['guarded']),
    peer: CLIENT,
    host: hostOf('guarded'),
    want: 'round',
  },
  { name: 'another port of the pod', pod: behind(['guarded']), port: 9090, peer: CLIENT, want: 'open' },
  { name: 'another port of the pod, in plaintext', pod: behind(['guarded']), port: 9090, want: 'open' },
  { name: 'a named target port', pod: behind(['guarded'], {}, 0), peer: CLIENT, want: 'round' },
  { name: 'the open service of a guarded pod', pod: behind(['open', 'guarded']), peer: CLIENT, host: hostOf('open'), want: 'round' },
  { name: 'the same, services the other way round', pod: behind(['guarded', 'open']), peer: CLIENT, host: hostOf('open'), want: 'round' },
  { name: 'two waypoints, from the first', pod: behind(['guarded', 'guarded-too']), peer: W1, want: 'waypoint' },
  { name: 'two waypoints, from the second', pod: behind(['guarded', 'guarded-too']), peer: W2, want: 'waypoint' },
  { name: 'two waypoints, from a client', pod: behind(['guarded', 'guarded-too']), peer: CLIENT, want: 'round' },
  { name: 'a headless service cannot be guarded', pod: behind(['headless']), peer: CLIENT, want: 'open' },
  { name: 'a headless service beside a guarded one', pod: behind(['headless', 'guarded']), peer: CLIENT, want: 'round' },
  { name: 'a waypoint that is not there', pod: behind(['lost']), peer: CLIENT, want: 'round' },
  { name: 'a waypoint that is not there, from one that is', pod: behind(['lost']), peer: W1, want: 'round' },
  { name: 'a service that is not known', pod: behind(['unheard-of']), peer: CLIENT, want: 'open' },
  { name: 'a guarded pod, from its waypoint', pod: behind([], { waypoint: toward('w1') }), peer: W1, want: 'waypoint' },
  { name: 'a guarded pod, from a client', pod: behind([], { waypoint: toward('w1') }), peer: CLIENT, want: 'round' },
  { name: 'a guarded pod, in plaintext', pod: behind([], { waypoint: toward('w1') }), want: 'round' },
  {
    name: 'a guarded pod through a service',
    pod: behind(['open'], { waypoint: toward('w1') }),
    peer: CLIENT,
    host: hostOf('open'),
    want: 'open',
  },
  {
    name: 'a guarded pod through a service that is not its own',
    pod: behind(['open'], { waypoint: toward('w1') }),
    peer: CLIENT,
    host: hostOf('guarded'),
    want: 'round',
  },
  {
    name: 'a guarded pod through a service of another port',
    pod: behind(['open'], { waypoint: toward('w1') }),
    port: 9090,
    peer: CLIENT,
    host: hostOf('open'),
    want: 'round',
  },
  { name: 'pod and service guarded, from the one', pod: behind(['guarded'], { waypoint: toward('w2') }), peer: W1, want: 'waypoint' },
  { name: 'pod and service guarded, from the other', pod: behind(['guarded'], { waypoint: toward('w2') }), peer: W2, want: 'waypoint' },
  { name: 'pod and service guarded, from a client', pod: behind(['guarded'], { waypoint: toward('w2') }), peer: CLIENT, want: 'round' },
  { name: 'just guarded, from a client', pod: behind(['guarded']), peer: CLIENT, before: { guarded: 'none' }, want: 'open' },
  { name: 'just guarded, from the waypoint', pod: behind(['guarded']), peer: W1, before: { guarded: 'none' }, want: 'waypoint' },
  { name: 'another waypoint, from the old one', pod: behind(['guarded']), peer: W2, before: { guarded: toward('w2') }, want: 'waypoint' },
  { name: 'another waypoint, from a client', pod: behind(['guarded']), peer: CLIENT, before: { guarded: toward('w2') }, want: 'round' },
  { name: 'just unguarded, from the old waypoint', pod: behind(['open']), peer: W1, before: { open: toward('w1') }, want: 'waypoint' },
  { name: 'just unguarded, from a client', pod: behind(['open']), peer: CLIENT, before: { open: toward('w1') }, want: 'open' },
  {
    name: 'just guarded beside a service that was guarded before',
    pod: behind(['guarded', 'guarded-too']),
    peer: CLIENT,
    before: { 'guarded-too': 'none' },
    want: 'round',
  },
]

describe('judgeWay', () => {
  it('has no row twice', () => assert.equal(new Set(ROWS.map(({ name }) => name)).size, ROWS.length))

  for (const { name, pod, port = 8080, peer, host, before, want } of ROWS)
    it(name, () => assert.equal(judgeWay(pod, port, peer, host, viewOf(before)), want))
})

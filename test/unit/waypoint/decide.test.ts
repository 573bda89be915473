// What a CONNECT to a waypoint leads to.
import assert from 'node:assert/strict'
import { Configuration } from '../../../waypoint/config.ts'
import { decideTarget } from '../../../waypoint/decide.ts'
import type { Self } from '../../../waypoint/decide.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ip, serviceOf } from '../../support/mesh-values.ts'
import { listenerOf } from '../../support/route-values.ts'
import { podOf } from '../../support/waypoint-lab.ts'

const SELF: Self = { network: '', ip: ip('10.0.0.9'), namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' }
const VIA_NAME = { kind: 'hostname', namespace: 'shop', hostname: SELF.hostname, hbonePort: 15008 } as const
const VIA_OTHER = { kind: 'hostname', namespace: 'shop', hostname: 'other.shop.svc.cluster.local', hbonePort: 15008 } as const
const via = (address: string) => ({ kind: 'address', network: '', ip: ip(address), hbonePort: 15008 }) as const

const CASES: readonly { readonly authority: string; readonly want: string }[] = [
  { authority: '10.96.0.1:80', want: 'service reviews:80' },
  { authority: 'reviews.shop.svc.cluster.local:80', want: 'service reviews:80' },
  { authority: '10.96.0.1:81', want: 'NOT_SERVED' }, // no such port
  { authority: '10.96.0.2:80', want: 'NOT_SERVED' }, // a service of somebody else
  { authority: 'ratings.shop.svc.cluster.local:80', want: 'NOT_SERVED' },
  { authority: 'nobody.shop.svc.cluster.local:80', want: 'NOT_SERVED' },
  { authority: '10.0.1.1:8080', want: 'workload by-name 10.0.1.1:8080 of reviews' },
  { authority: '10.0.1.2:9999', want: 'workload by-vip 10.0.1.2:9999' },
  { authority: '10.0.1.3:8080', want: 'workload by-ip 10.0.1.3:8080' },
  { authority: '10.0.1.4:8080', want: 'NOT_SERVED' }, // another waypoint's
  { authority: '10.0.1.5:8080', want: 'NOT_SERVED' }, // without a waypoint
  { authority: '10.0.1.1:15008', want: 'NOT_SERVED' }, // the mesh's own port
  { authority: '10.9.9.9:80', want: 'NOT_SERVED' }, // unknown
  { authority: '10.96.0.1', want: 'BAD_AUTHORITY' },
  { authority: 'x/y:80', want: 'BAD_AUTHORITY' },
]

describe('decide', () => {
  const config = new Configuration(new FakeClock())
  config.apply({
    services: {
      upserts: [serviceOf('reviews', ['10.96.0.1']), serviceOf('ratings', ['10.96.0.2']), serviceOf('waypoint', ['10.96.0.9'])],
      removes: [],
    },
    workloads: {
      upserts: [
        podOf('by-name', '10.0.1.1', ['reviews'], { waypoint: VIA_NAME }),
        podOf('by-vip', '10.0.1.2', [], { waypoint: via('10.96.0.9') }),
        podOf('by-ip', '10.0.1.3', [], { waypoint: via('10.0.0.9') }),
        podOf('others', '10.0.1.4', [], { waypoint: VIA_OTHER }),
        podOf('bare', '10.0.1.5', []),
      ],
      removes: [],
    },
  })
  config.applyListeners({ upserts: [listenerOf('shop/waypoint', 'reviews')], removes: [] })

  for (const { authority, want } of CASES) {
    it(`${authority}: ${want}`, () => {
      const target = decideTarget(authority, 'shop', SELF, config.mesh, (service, port) => config.listenerFor(service, port))
      const text =
        target.kind === 'refuse'
          ? target.code
          : target.kind === 'service'
            ? `service ${target.service.name}:${target.port}`
            : `workload ${target.workload.name} ${target.to.ip}:${target.to.port}${target.service === undefined ? '' : ` of ${target.service.name}`}`
      assert.equal(text, want)
    })
  }
})

// Shared values are equal to what was given, and are shared.
import assert from 'node:assert/strict'
import type { Workload } from '../../../model/workload.ts'
import { Sharing } from '../../../state/share.ts'
import { workloadOf } from '../../support/mesh-values.ts'

/** A description as it comes from another thread: nothing shared with any other. */
const fresh = (name: string, change: Partial<Workload> = {}): Workload =>
  structuredClone(
    workloadOf(name, ['10.244.1.2'], {
      services: new Map([['shop/web.shop.svc.cluster.local', [{ servicePort: 80, targetPort: 8080 }]]]),
      locality: { region: 'r', zone: 'z', subzone: '' },
      authorizationPolicies: ['shop/only-web'],
      ...change,
    }),
  )

describe('state/share', () => {
  it('changes nothing', () => {
    const sharing = new Sharing()
    for (const workload of [fresh('a'), fresh('b'), fresh('c', { services: new Map(), authorizationPolicies: [] })]) {
      assert.deepEqual(sharing.workload(workload), workload)
    }
  })

  it('keeps equal parts once', () => {
    const sharing = new Sharing()
    const [a, b] = [sharing.workload(fresh('a')), sharing.workload(fresh('b'))]
    assert.equal(a.services, b.services)
    assert.equal(a.locality, b.locality)
  })

  it('does not mix up services that differ in one port, name or target', () => {
    const sharing = new Sharing()
    const lists: [string, { servicePort: number; targetPort: number }[]][][] = [
      [['n/a', [{ servicePort: 80, targetPort: 8080 }]]],
      [['n/a', [{ servicePort: 80, targetPort: 8081 }]]],
      [['n/a', [{ servicePort: 8, targetPort: 8080 }]]],
      [['n/b', [{ servicePort: 80, targetPort: 8080 }]]],
      [
        ['n/a', []],
        ['n/b', [{ servicePort: 80, targetPort: 8080 }]],
      ],
      [
        ['n/a', [{ servicePort: 80, targetPort: 8080 }]],
        ['n/b', []],
      ],
      [
        [
          'n/a',
          [
            { servicePort: 80, targetPort: 8080 },
            { servicePort: 81, targetPort: 8080 },
          ],
        ],
      ],
      [],
    ]
    for (const list of [...lists, ...lists]) {
      const workload = fresh('a', { services: new Map(list) })
      assert.deepEqual(sharing.workload(workload).services, workload.services)
    }
  })
})

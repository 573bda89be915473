// Which running pods are taken up, and what is counted.
import assert from 'node:assert/strict'
import { takeUpPods } from '../../../../cni/kubernetes/take-up.ts'
import type { GivenPlace } from '../../../../cni/place.ts'
import type { PodPlace } from '../../../../cni/pods.ts'
import type { Pod } from '../../../../model/object.ts'
import { silentLog } from '../../../support/netns-lab.ts'

const pod = (name: string, change: { phase?: string; ips?: string[]; annotation?: string; wanted?: string } = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: change.wanted ?? 'in',
      uid: name,
      annotations: change.annotation === undefined ? {} : { 'ambient.istio.io/redirection': change.annotation },
    },
    spec: { nodeName: 'n', containers: [] },
    status: { phase: change.phase ?? 'Running', podIPs: (change.ips ?? ['10.0.0.7']).map((ip) => ({ ip })) },
  }) as unknown as Pod

describe('cni/kubernetes/take-up', () => {
  for (const { name, given, known, want, drift } of [
    { name: 'one that started before us', given: pod('a'), want: ['a'], drift: ['missed'] },
    { name: 'one whose capture was lost', given: pod('a', { annotation: 'enabled' }), want: ['a'], drift: ['lost'] },
    { name: 'one that waits for its first container', given: pod('a', { phase: 'Pending' }), want: ['a'], drift: ['missed'] },
    { name: 'one with two families', given: pod('a', { ips: ['10.0.0.7', 'fd00::7', '10.0.0.8'] }), want: ['a'], drift: ['missed'] },
    { name: 'one that is known', given: pod('a'), known: 'a', want: [], drift: [] },
    { name: 'one without an address', given: pod('a', { ips: [] }), want: [], drift: [] },
    { name: 'one that is over', given: pod('a', { phase: 'Succeeded' }), want: [], drift: [] },
    { name: 'one that is not to be enrolled', given: pod('a', { wanted: 'out' }), want: [], drift: [] },
    { name: 'one without a process', given: pod('gone'), want: [], drift: [] },
    { name: 'one whose namespace dies meanwhile', given: pod('dying'), want: [], drift: [] },
  ]) {
    it(`looks at ${name}`, () => {
      const taken: string[] = []
      const counted: string[] = []
      takeUpPods({
        agent: {
          runners: () => new Map(known === undefined ? [] : [[known, {} as never]]),
          isWanted: (each) => each.metadata.namespace === 'in',
          found: (place) => void taken.push(place.uid),
        },
        objects: { pods: () => [given], namespace: () => undefined },
        netnsDir: '/run/netns',
        metrics: { drifted: (kind) => void counted.push(kind) },
        log: silentLog,
        find: (uids) => new Map([...uids].filter((uid) => uid !== 'gone').map((uid) => [uid, `/run/netns/${uid}`])),
        place: ({ pod: each, ips }: GivenPlace) => {
          if (each.metadata.name === 'dying') throw new Error('gone')
          assert.ok(ips.length <= 2 && new Set(ips.map((ip) => ip.includes(':'))).size === ips.length)
          return { uid: each.metadata.uid } as PodPlace
        },
      })
      assert.deepEqual([taken, counted], [want, drift])
    })
  }
})
